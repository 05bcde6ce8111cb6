"""The vendor's rules for one event, as JSON Schema 2020-12, and what each broken rule is called.

Rules that JSON Schema cannot say (bytes rather than characters, the size of the payload) are in `judge`.
"""

from __future__ import annotations

from typing import Any

import jsonschema_rs

MAX_EVENT_BYTES = 5_000_000
MAX_STRING_BYTES = 100_000
MAX_BULK_EVENTS = 100
MAX_DATA_PROPERTIES = 400

Schema = dict[str, Any]

_ARTICLES = {"object": "an object", "string": "a string", "number": "a number"}

_ARTICLES = {"object": "an object", "string": "a string", "number": "a number"}

_TEXT: Schema = {"type": "string"}
_SCALAR: Schema = {"type": ["string", "number", "boolean"], "title": "a string, a number or a boolean"}


def _number(low: int, high: int) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high, "title": f"a number from {low} to {high}"}


def _pattern(pattern: str, title: str) -> Schema:
    return {"type": "string", "pattern": pattern, "title": title}


_LOCATION: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "street1": _TEXT,
        "street2": _TEXT,
        "city": _TEXT,
        "state": _TEXT,
        "stateCode": _TEXT,
        "postalCode": _TEXT,
        "country": _TEXT,
        "countryCode": _pattern("^[A-Z]{2}$", "an ISO 3166-1 alpha-2 code: two capital letters"),
        "ianaTimeZoneName": _TEXT,
        "latitude": _number(-90, 90),
        "longitude": _number(-180, 180),
    },
}

_CUSTOMER: Schema = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [{"required": ["id"]}, {"required": ["email"]}, {"required": ["phoneNumber"]}],
    "properties": {
        # An empty id names nobody, so it must not pass as the one identifier a customer needs.
        "id": {"type": "string", "minLength": 1},
        "email": {"type": "string", "format": "email", "title": "an email address"},
        "phoneNumber": _pattern("^\\+[1-9][0-9]{1,14}$", "an E.164 number such as +12025550123"),
        "firstName": _TEXT,
        "lastName": _TEXT,
        "location": _LOCATION,
        "customFields": {"type": "object", "additionalProperties": _SCALAR},
    },
}

EVENT: Schema = {
    "type": "object",
    "required": ["eventName", "customer"],
    "properties": {
        "eventName": {"type": "string", "minLength": 1},
        "customer": _CUSTOMER,
        "eventTimestamp": {
            "type": "string",
            "format": "date-time",
            "title": "an RFC 3339 date and time with an offset",
        },
        "value": {"type": "number"},
        "valueCurrency": _pattern("^[A-Z]{3}$", "an ISO 4217 code: three capital letters"),
        "uniqueId": {"type": "string", "minLength": 1, "maxLength": 255},
        "data": {
            "type": "object",
            "maxProperties": MAX_DATA_PROPERTIES,
            "properties": {"$extra": {"type": "object"}},
            # null is allowed because the reference names it among the values that count as unset.
            "additionalProperties": {
                "type": ["string", "number", "boolean", "null"],
                "title": "a string, a number or a boolean",
            },
        },
    },
}

EVENT_VALIDATOR = jsonschema_rs.Draft202012Validator(
    EVENT,
    validate_formats=True,
    # "Ada <ada@example.com>" is a mailbox with a display name, not an address.
    email_options=jsonschema_rs.EmailOptions(allow_display_text=False, allow_domain_literal=False),
)


def wording(error: jsonschema_rs.ValidationError) -> tuple[str, str]:
    """Where the rule was broken ("customer.email", "" for the event itself) and which rule, without values.

    Values stay out so that the same mistake in a thousand events counts as one reason.
    """
    where = ".".join(str(step) for step in error.instance_path)
    steps = list(error.schema_path)
    rule: Any = EVENT
    for step in steps[:-1]:
        rule = rule[step]
    keyword = str(steps[-1]) if steps else ""
    kind = error.kind
    match kind:
        case jsonschema_rs.ValidationErrorKind.Required():
            return f"{where}.{kind.property}".lstrip("."), "is required"
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties():
            unknown = ", ".join(sorted(kind.unexpected))
            return where, f"has keys that are not allowed: {unknown}"
        case jsonschema_rs.ValidationErrorKind.AnyOf():
            return where, "needs at least one of id, email, phoneNumber"
        case jsonschema_rs.ValidationErrorKind.MaxProperties():
            return where, f"has more than {rule[keyword]} properties"
        case jsonschema_rs.ValidationErrorKind.MinLength():
            return where, "is empty"
        case jsonschema_rs.ValidationErrorKind.MaxLength():
            return where, f"is longer than {rule[keyword]} characters"
    return where, f"is not {rule.get('title') or _ARTICLES[rule['type']]}"
