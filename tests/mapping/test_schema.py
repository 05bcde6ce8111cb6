"""The JSON Schema takes what the linter takes, as far as a schema can tell, and completes every key."""

from __future__ import annotations

import subprocess
import sys
import typing
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from backfill import api
from backfill.mapping import json_schema, models, parse, reference_markdown
from backfill.mapping.leaf import Value

VALIDATOR = jsonschema.Draft202012Validator(json_schema())

# A key or value put somewhere, and whether it is right. Both the linter and the schema have to agree.
SOURCES = [
    ("{files: a.csv}", True),
    ("{files: [a.csv, b.parquet], format: parquet}", True),
    ("{files: a, csv: {separator: ';', quote: '', header: false, columns: [a, 2], skip_lines: 1, null_values: [NULL]}}", True),
    ("{files: a, csv: {comment: '#', encoding: utf-8}, numbers: {decimal: ',', thousands: '.'}}", True),
    ("{files: a, timezone: UTC, ambiguous: latest, where: a > 1, group_by: [a]}", True),
    ("{files: a, group_by: {columns: [a], adjacent: false}}", True),
    ("{}", False),
    ("{files: []}", False),
    ("{files: 5}", False),
    ("{file: a}", False),
    ("{files: a, format: xml}", False),
    ("{files: a, csv: {delimiter: ';'}}", False),
    ("{files: a, csv: {separator: ';;'}}", False),
    ("{files: a, csv: {header: 'yes'}}", False),
    ("{files: a, csv: {skip_lines: -1}}", False),
    ("{files: a, numbers: {decimal: x}}", False),
    ("{files: a, numbers: {grouping: x}}", False),
    ("{files: a, ambiguous: first}", False),
    ("{files: a, group_by: a}", False),
    ("{files: a, group_by: []}", False),
    ("{files: a, group_by: {columns: [a], sorted: true}}", False),
    ("{files: a, where: 5}", False),
]  # fmt: skip
PARTS = [
    ("value", "5", True),
    ("value", "'{a}'", True),
    ("value", "{sql: a > 1, type: integer}", True),
    ("value", "{column: a, default: 0}", True),
    ("value", "'5'", False),
    ("value", "{column: a, type: string}", False),
    ("value", "{column: a, default: x}", False),
    ("valueCurrency", "USD", True),
    ("valueCurrency", "5", False),
    ("where", "a > 1", True),
    ("where", "[a]", False),
    ("emial", "x", False),
    ("extra", "{}", False),
    ("path", "x", False),
    ("eventName", "{template: 'a {b}'}", True),
    ("eventName", "5", False),
    ("eventName", "{}", False),
    ("eventTimestamp", "{column: a, type: date, format: epoch_s}", True),
    ("eventTimestamp", "{column: a, timezone: UTC, required: true}", True),
    ("eventTimestamp", "5", False),
    ("eventTimestamp", "{column: a, region: US}", False),
    ("uniqueId", "'{a}'", True),
    ("uniqueId", "{hash: [a, 2], prefix: 'x:', occurrence: true}", True),
    ("uniqueId", "{hash: '*'}", True),
    ("uniqueId", "constant", False),
    ("uniqueId", "{hash: a}", False),
    ("uniqueId", "{hash: [], prefix: x}", False),
    ("uniqueId", "{hash: '*', salt: x}", False),
    ("uniqueId", "{column: a}", False),
    ("customer", "{id: '{a}'}", True),
    ("customer", "{phoneNumber: {column: a, region: US}, firstName: x, customFields: {A: 5}}", True),
    ("customer", "{email: '{a}', location: {city: x, latitude: 5, countryCode: US}}", True),
    ("customer", "{}", False),
    ("customer", "{firstName: x}", False),
    ("customer", "{email: x, emial: x}", False),
    ("customer", "{email: {column: a, region: US}}", False),
    ("customer", "{email: {column: a, format: '%Y'}}", False),
    ("customer", "{email: 5}", False),
    ("customer", "{phoneNumber: {column: a, region: UK}}", False),
    ("customer", "{email: x, location: {zip: x}}", False),
    ("customer", "{email: x, location: {latitude: north}}", False),
    ("customer", "{email: x, customFields: {A: [1]}}", False),
    ("customer", "{email: x, customFields: {'': 1}}", False),
    ("data", "{A: 1, B: true, C: x, D: '{a}', E: {column: a, map: {x: 1}, otherwise: 2}}", True),
    ("data", "{A: {column: a, type: datetime, format: '%Y', timezone: UTC, on_invalid: omit}}", True),
    ("data", "{$extra: {A: [1, {B: '{c}'}, {column: a, type: json}], column: x}}", True),
    ("data", "{A: {column: a, sql: b}}", False),
    ("data", "{A: {column: a, typ: integer}}", False),
    ("data", "{A: {column: a, type: int}}", False),
    ("data", "{A: {column: a, type: json}}", False),
    ("data", "{A: {column: a, map: {x: 1, y: z}}}", False),
    ("data", "{A: {column: a, map: {}}}", False),
    ("data", "{A: {column: a, on_invalid: skip}}", False),
    ("data", "{A: {type: integer}}", False),
    ("data", "{A: {collect: {B: x}}}", False),
    ("data", "{A: {B: x}}", False),
    ("data", "{A: [1]}", False),
    ("data", "{A: }", False),
    ("data", "{'': 1}", False),
    ("data", "{$extra: [1]}", False),
    ("data", "5", False),
]
DELIVERIES = [
    ("{}", True),
    ("{store: abc, endpoint: bulk, rate: 95.5, concurrency: 4, flows: acknowledged}", True),
    ("{not_newer_than: 72h}", True),
    ("{not_newer_than: 0s}", True),
    ("{not_newer_than: 72}", False),
    ("{not_newer_than: 1.5h}", False),
    ("{not_newer_than: 3 days}", False),
    ("{rate: 0}", False),
    ("{concurrency: 1.5}", False),
    ("{endpoint: batch}", False),
    ("{flows: true}", False),
    ("{secret: x}", False),
]


def agree(mapping: dict[str, Any], right: bool) -> None:
    errors = [error.message for error in VALIDATOR.iter_errors(mapping)]
    problems = [problem.message for problem in parse(yaml.safe_dump(mapping, sort_keys=False)).problems]
    assert (not errors) == (not problems) == right, (errors, problems)


def a_mapping() -> dict[str, Any]:
    event = {"eventName": "x", "uniqueId": "{a}", "eventTimestamp": "{a}", "customer": {"email": "{a}"}}
    return {"source": {"files": "a.csv"}, "events": [event]}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_example(orders: str) -> None:
    VALIDATOR.validate(yaml.safe_load(orders))


@pytest.mark.parametrize("written,right", SOURCES)
def test_sources(written: str, right: bool) -> None:
    agree({**a_mapping(), "source": yaml.safe_load(written)}, right)


@pytest.mark.parametrize("key,written,right", PARTS)
def test_events(key: str, written: str, right: bool) -> None:
    mapping = a_mapping()
    mapping["events"][0][key] = yaml.safe_load(written)
    agree(mapping, right)


@pytest.mark.parametrize("written,right", DELIVERIES)
def test_deliveries(written: str, right: bool) -> None:
    agree({**a_mapping(), "delivery": yaml.safe_load(written)}, right)


@pytest.mark.parametrize("key", ["eventName", "uniqueId", "eventTimestamp", "customer"])
def test_what_an_event_needs(key: str) -> None:
    mapping = a_mapping()
    del mapping["events"][0][key]
    agree(mapping, right=False)


def test_what_a_file_needs() -> None:
    agree({**a_mapping(), "event": []}, right=False)
    agree({**a_mapping(), "events": []}, right=False)
    agree({"source": {"files": "a"}}, right=False)
    agree({"events": a_mapping()["events"]}, right=False)


def test_collect() -> None:
    mapping = a_mapping()
    mapping["source"]["group_by"] = ["a"]
    mapping["events"][0]["data"] = {"$extra": {"Items": {"collect": {"Title": "{item}"}}}}
    agree(mapping, right=True)


def objects(schema: Any) -> typing.Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


def test_every_key_is_described_and_every_object_closed() -> None:
    for found in objects(json_schema()):
        assert "additionalProperties" in found
        for key, shape in found["properties"].items():
            assert shape.get("description"), key
            assert len(shape) > 1, key


MODELS: list[type[BaseModel]] = [
    getattr(models, name) for name in models.__all__ if isinstance(getattr(models, name), type)
]


@pytest.mark.parametrize("model", [Value, *MODELS])
def test_every_field_is_in_the_reference(model: type[BaseModel]) -> None:
    text = reference_markdown()
    for key, info in model.model_fields.items():
        if key not in ("path", "extra") and model is not models.TemplateId:
            assert info.description
            assert f"`{key}`" in text


def test_the_models_have_the_apis_keys() -> None:
    assert set(models.Location.model_fields) == {*api.LOCATION_TEXTS, *api.LOCATION_NUMBERS}
    assert set(models.Customer.model_fields) == {*api.CUSTOMER_TEXTS, "location", "customFields"}


def test_reference_tables_are_whole() -> None:
    for line in reference_markdown().splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 4


def test_importing_is_light_and_sql_is_read_only_when_there_is_some() -> None:
    script = (
        "import sys; from backfill.mapping import parse; "
        "assert not {'yaml', 'sqlglot', 'polars', 'backfill.mapping.schema'} & set(sys.modules); "
        f"assert parse({yaml.safe_dump(a_mapping())!r}).mapping; assert 'sqlglot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
