"""Every rule for an event, once at its boundary and once just beyond, over a real socket, alone and in a bulk."""

from __future__ import annotations

import json
from typing import Any

import pytest

SINGLE = "/stores/s1/events"
BULK = "/stores/s1/events/bulk"

EMAIL = {"email": "ada@example.com"}


def customer(**fields: Any) -> dict[str, Any]:
    return {"customer": EMAIL | fields}


def location(**fields: Any) -> dict[str, Any]:
    return customer(location=fields)


def data(**fields: Any) -> dict[str, Any]:
    return {"data": fields}


def exactly(size: int) -> str:
    """Two-byte characters that make `size` bytes of UTF-8."""
    return "é" * (size // 2)


ACCEPTED = {
    "smallest": {},
    "all fields": {
        "eventName": "Order Placed",
        "customer": {
            "id": "64b7f0c2a1d2e3f405060708",
            "email": "ada@example.com",
            "phoneNumber": "+12025550123",
            "firstName": "Ada",
            "lastName": "Lovelace",
            "location": {
                "street1": "1 Main St",
                "street2": "",
                "city": "Springfield",
                "state": "Oregon",
                "stateCode": "OR",
                "postalCode": "97477",
                "country": "United States",
                "countryCode": "US",
                "ianaTimeZoneName": "America/Los_Angeles",
                "latitude": 44.05,
                "longitude": -123.02,
            },
            "customFields": {"tier": "gold", "points": 7, "vip": False, "since": "2020-01-01T00:00:00Z"},
        },
        "eventTimestamp": "2024-02-29T23:59:59.999Z",
        "value": 12.5,
        "valueCurrency": "USD",
        "uniqueId": "order-1",
        "data": {"sku": "A-1", "quantity": 2, "gift": True, "$extra": {"items": [{"a": [None, 0, ""]}]}},
    },
    "only an id": {"customer": {"id": "64b7f0c2a1d2e3f405060708"}},
    "only a phone number": {"customer": {"phoneNumber": "+12025550123"}},
    "unknown top-level key": {"somethingElse": [1, {"a": None}]},
    "shortest phone number": customer(phoneNumber="+12"),
    "longest phone number": customer(phoneNumber="+123456789012345"),
    "empty names": customer(firstName="", lastName=""),
    "empty customFields": customer(customFields={}),
    "empty location": location(),
    "north pole": location(latitude=90, longitude=180),
    "south pole": location(latitude=-90, longitude=-180),
    "timestamp with offset": {"eventTimestamp": "2024-01-01T00:00:00+14:00"},
    "timestamp in lower case": {"eventTimestamp": "2024-01-01t00:00:00z"},
    "timestamp with nanoseconds": {"eventTimestamp": "2024-01-01T00:00:00.123456789Z"},
    "leap day": {"eventTimestamp": "2024-02-29T00:00:00Z"},
    "leap second": {"eventTimestamp": "2016-12-31T23:59:60Z"},
    "value 0": {"value": 0},
    "negative value": {"value": -0.01},
    "id of 1": {"uniqueId": "x"},
    "id of 255": {"uniqueId": "x" * 255},
    "id of 255 wide characters": {"uniqueId": "😀" * 255},
    "empty data": {"data": {}},
    "data that counts as unset": data(zero=0, empty="", null=None),
    "400 properties": {"data": {f"p{i}": i for i in range(400)}},
    "text of 100,000 bytes": data(text=exactly(100_000)),
    "key of 100,000 bytes": {"data": {exactly(100_000): 1}},
    "extra text of 100,000 bytes": {"data": {"$extra": {"a": ["x" * 100_000]}}},
    "event name of 100,000 bytes": {"eventName": "x" * 100_000},
    "control characters": data(text="a\u0000b\u001b"),
}

REFUSED = {
    "no eventName": ({"eventName": ...}, "eventName: is required"),
    "eventName null": ({"eventName": None}, "eventName: is not a string"),
    "eventName number": ({"eventName": 1}, "eventName: is not a string"),
    "eventName empty": ({"eventName": ""}, "eventName: is empty"),
    "no customer": ({"customer": ...}, "customer: is required"),
    "customer null": ({"customer": None}, "customer: is not an object"),
    "nobody": ({"customer": {}}, "customer: needs at least one of id, email, phoneNumber"),
    "only names": ({"customer": {"firstName": "Ada"}}, "customer: needs at least one of"),
    "empty id": ({"customer": {"id": ""}}, "customer.id: is empty"),
    "customer id number": ({"customer": {"id": 7}}, "customer.id: is not a string"),
    "email null": ({"customer": {"id": "1", "email": None}}, "customer.email: is not"),
    "email without at": (
        {"customer": {"email": "ada.example.com"}},
        "customer.email: is not an email address",
    ),
    "email with name": ({"customer": {"email": "Ada <ada@example.com>"}}, "customer.email: is not an email"),
    "email with blank": ({"customer": {"email": "ada @example.com"}}, "customer.email: is not an email"),
    "email with line break": (
        {"customer": {"email": "ada@example.com\n"}},
        "customer.email: is not an email",
    ),
    "unknown customer key": (
        customer(phone="+12025550123"),
        "customer: has keys that are not allowed: phone",
    ),
    "phone without plus": (customer(phoneNumber="12025550123"), "customer.phoneNumber: is not an E.164"),
    "phone too short": (customer(phoneNumber="+1"), "customer.phoneNumber: is not an E.164"),
    "phone too long": (customer(phoneNumber="+1234567890123456"), "customer.phoneNumber: is not an E.164"),
    "phone from 0": (customer(phoneNumber="+0123456789"), "customer.phoneNumber: is not an E.164"),
    "phone with blanks": (customer(phoneNumber="+1 202 555 0123"), "customer.phoneNumber: is not an E.164"),
    "phone in other digits": (customer(phoneNumber="+١٢٣٤٥٦"), "customer.phoneNumber: is not an E.164"),
    "phone with line break": (
        customer(phoneNumber="+12025550123\n"),
        "customer.phoneNumber: is not an E.164",
    ),
    "firstName number": (customer(firstName=1), "customer.firstName: is not a string"),
    "lastName null": (customer(lastName=None), "customer.lastName: is not a string"),
    "customFields list": (customer(customFields=[]), "customer.customFields: is not an object"),
    "customFields null inside": (
        customer(customFields={"a": None}),
        "customer.customFields.a: is not a string, a",
    ),
    "customFields object": (
        customer(customFields={"a": {}}),
        "customer.customFields.a: is not a string, a number",
    ),
    "customFields $extra": (customer(customFields={"$extra": {}}), "customer.customFields.$extra: is not"),
    "location text": (customer(location="here"), "customer.location: is not an object"),
    "unknown location key": (location(zip="97477"), "customer.location: has keys that are not allowed: zip"),
    "postalCode number": (location(postalCode=97477), "customer.location.postalCode: is not a string"),
    "country in lower case": (
        location(countryCode="us"),
        "customer.location.countryCode: is not an ISO 3166-1",
    ),
    "country of 3": (location(countryCode="USA"), "customer.location.countryCode: is not an ISO 3166-1"),
    "country of 1": (location(countryCode="U"), "customer.location.countryCode: is not an ISO 3166-1"),
    "latitude 90.001": (
        location(latitude=90.001),
        "customer.location.latitude: is not a number from -90 to 90",
    ),
    "latitude -91": (location(latitude=-91), "customer.location.latitude: is not a number from -90 to 90"),
    "longitude 180.001": (location(longitude=180.001), "longitude: is not a number from -180 to 180"),
    "longitude -181": (location(longitude=-181), "longitude: is not a number from -180 to 180"),
    "latitude text": (location(latitude="44"), "customer.location.latitude: is not a number"),
    "timestamp without zone": (
        {"eventTimestamp": "2024-01-01T00:00:00"},
        "eventTimestamp: is not an RFC 3339",
    ),
    "timestamp with blank": (
        {"eventTimestamp": "2024-01-01 00:00:00Z"},
        "eventTimestamp: is not an RFC 3339",
    ),
    "date only": ({"eventTimestamp": "2024-01-01"}, "eventTimestamp: is not an RFC 3339"),
    "no such day": ({"eventTimestamp": "2023-02-29T00:00:00Z"}, "eventTimestamp: is not an RFC 3339"),
    "hour 24": ({"eventTimestamp": "2024-01-01T24:00:00Z"}, "eventTimestamp: is not an RFC 3339"),
    "offset without colon": ({"eventTimestamp": "2024-01-01T00:00:00+0100"}, "eventTimestamp: is not an RFC"),
    "offset of 24 hours": ({"eventTimestamp": "2024-01-01T00:00:00+24:00"}, "eventTimestamp: is not an RFC"),
    "timestamp number": ({"eventTimestamp": 1704067200}, "eventTimestamp: is not an RFC 3339"),
    "timestamp null": ({"eventTimestamp": None}, "eventTimestamp: is not an RFC 3339"),
    "value text": ({"value": "12.50"}, "value: is not a number"),
    "value null": ({"value": None}, "value: is not a number"),
    "value true": ({"value": True}, "value: is not a number"),
    "currency in lower case": ({"valueCurrency": "usd"}, "valueCurrency: is not an ISO 4217"),
    "currency of 2": ({"valueCurrency": "US"}, "valueCurrency: is not an ISO 4217"),
    "currency of 4": ({"valueCurrency": "USDX"}, "valueCurrency: is not an ISO 4217"),
    "id of 0": ({"uniqueId": ""}, "uniqueId: is empty"),
    "id of 256": ({"uniqueId": "x" * 256}, "uniqueId: is longer than 255 characters"),
    "id number": ({"uniqueId": 7}, "uniqueId: is not a string"),
    "id null": ({"uniqueId": None}, "uniqueId: is not a string"),
    "data list": ({"data": []}, "data: is not an object"),
    "data null": ({"data": None}, "data: is not an object"),
    "data holds a list": (data(items=[1]), "data.items: is not a string, a number or a boolean"),
    "data holds an object": (data(item={}), "data.item: is not a string, a number or a boolean"),
    "$extra list": ({"data": {"$extra": []}}, "data.$extra: is not an object"),
    "$extra null": ({"data": {"$extra": None}}, "data.$extra: is not an object"),
    "401 properties": ({"data": {f"p{i}": i for i in range(401)}}, "data: has more than 400 properties"),
    "400 properties and $extra": (
        {"data": {"$extra": {}} | {f"p{i}": i for i in range(400)}},
        "data: has more than 400 properties",
    ),
    "text of 100,001 bytes": (data(text=exactly(100_000) + "x"), "data.text: is longer than 100000 bytes"),
    "key of 100,001 bytes": (
        data(**{exactly(100_000) + "x": 1}),
        "a key in data: is longer than 100000 bytes",
    ),
    "extra text of 100,001 bytes": (
        {"data": {"$extra": {"a": ["x" * 100_001]}}},
        "data.$extra.a: is longer than 100000 bytes",
    ),
    "event name of 100,001 bytes": ({"eventName": "x" * 100_001}, "eventName: is longer than 100000 bytes"),
    "top-level text of 100,001 bytes": ({"other": "x" * 100_001}, "other: is longer than 100000 bytes"),
    "lone surrogate": (data(text="\ud800"), "lone surrogate"),
    "too deep": ({"data": {"$extra": json.loads('{"a":' * 300 + "1" + "}" * 300)}}, "nested too deeply"),
}


@pytest.mark.parametrize("fields", ACCEPTED.values(), ids=ACCEPTED)
def test_takes(client, event, fields):
    single = client.post(SINGLE, content=json.dumps(event(**fields)))
    assert (single.status_code, single.content) == (202, b""), single.text
    bulk = client.post(BULK, content=json.dumps({"events": [event(**fields)]}))
    assert (bulk.status_code, bulk.content) == (202, b""), bulk.text


@pytest.mark.parametrize("fields, reason", REFUSED.values(), ids=REFUSED)
def test_refuses(client, event, shared, fields, reason):
    before = shared.summary()
    single = client.post(SINGLE, content=json.dumps(event(**fields)))
    bulk = client.post(BULK, content=json.dumps({"events": [event(**fields)]}))
    for answer in (single, bulk):
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert reason in answer.json()["detail"]
    after = shared.summary()
    assert after.stored == before.stored
    assert after.refused == before.refused + 2


@pytest.mark.parametrize("document", [None, 1, "text", [], True])
def test_an_event_is_an_object(client, document):
    assert "the event is not an object" in client.post(SINGLE, content=json.dumps(document)).json()["detail"]
    assert "the event is not an object" in client.post(BULK, json={"events": [document]}).json()["detail"]


def test_names_all_broken_rules_but_no_values(client, event):
    answer = client.post(SINGLE, json=event(value="secret-value", uniqueId="", valueCurrency="secret"))
    detail = answer.json()["detail"]
    assert all(field in detail for field in ("value:", "uniqueId:", "valueCurrency:"))
    assert "secret" not in detail
