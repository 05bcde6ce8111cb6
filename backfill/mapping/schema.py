"""The mapping's JSON Schema, for editors: from the models' fields, with the file's short forms and `$extra`.

What a schema can't say (columns, templates, SQL, zones) only the linter says.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from backfill import api
from backfill.mapping.leaf import LEAF_KEYS, Value
from backfill.mapping.models import (
    CsvOptions,
    Customer,
    Delivery,
    Event,
    GroupBy,
    HashId,
    Location,
    Mapping,
    Numbers,
    Secrets,
    Since,
    Source,
    StoreColumn,
)

__all__ = ["json_schema", "words_of"]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1, "pattern": r"\S"}
_SCALAR: Schema = {"type": ["string", "number", "boolean"]}
# A column called 2024 is a number to YAML.
_COLUMN: Schema = {"type": ["string", "number", "boolean"], "minLength": 1}
_COLUMNS: Schema = {"type": "array", "items": _COLUMN, "minItems": 1, "uniqueItems": True}
_DURATION: Schema = {"type": "string", "pattern": "^[0-9]{1,12}[smhdw]$"}
_MARK: Schema = {"type": ["string", "number"], "maxLength": 1}
_NAMES: Schema = {"propertyNames": {"pattern": r"\S"}}
_TYPES = {
    "text": ["string"],
    "number": ["number", "integer"],
    "time": ["datetime", "date"],
    "phone": ["string"],
}
_CONSTANTS: dict[str, Schema] = {
    "text": {"type": "string"},
    "phone": {"type": "string"},
    "number": {"type": ["number", "string"], "pattern": r"\{"},
    "time": {"type": "string"},
}


def json_schema() -> Schema:
    """Draft 2020-12."""
    kinds = ("text", "number", "time", "phone", "any", "node")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "backfill mapping",
        **_model(Mapping, {"source": _source(), "events": _events(), "delivery": _delivery()}, skip=("path",)),
        "$defs": {kind: _value(kind) for kind in kinds},
    }


def words_of(info: FieldInfo) -> list[str]:
    """The words that a field takes, when it takes words."""
    options = [info.annotation, *get_args(info.annotation)]
    return [word for option in options if get_origin(option) is Literal for word in get_args(option)]


def _ref(kind: str) -> Schema:
    return {"$ref": f"#/$defs/{kind}"}


def _model(model: type[BaseModel], shapes: dict[str, Schema], skip: tuple[str, ...] = ()) -> Schema:
    """A closed object: shapes by key, where the field's own annotation does not say it all."""
    properties = {
        key: _said(info, shapes.get(key) or {"enum": words_of(info)})
        for key, info in model.model_fields.items()
        if key not in skip
    }
    required = [key for key, info in model.model_fields.items() if info.is_required() and key not in skip]
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _said(info: FieldInfo, shape: Schema) -> Schema:
    said = {**shape, "description": info.description}
    return {**said, "examples": info.examples} if info.examples else said


def _source() -> Schema:
    boolean = {"type": "boolean"}
    csv = {
        "separator": {**_MARK, "minLength": 1},
        "quote": _MARK,
        "encoding": _TEXT,
        "header": boolean,
        "columns": _COLUMNS,
        "skip_lines": {"type": "integer", "minimum": 0},
        "comment": _TEXT,
        "null_values": {"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}},
    }
    numbers = {"decimal": {"enum": [".", ","]}, "thousands": {**_MARK, "minLength": 1}}
    groups = _model(GroupBy, {"columns": _COLUMNS, "adjacent": boolean})
    since: dict[str, Schema] = {
        "column": _COLUMN,
        "lookback": {"anyOf": [{"type": "integer", "minimum": 0}, _DURATION]},
        "format": _TEXT,
        "timezone": _TEXT,
    }
    shapes: dict[str, Schema] = {
        "files": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
        "csv": _model(CsvOptions, csv),
        "numbers": _model(Numbers, numbers),
        "timezone": _TEXT,
        "where": _TEXT,
        "group_by": {"anyOf": [_COLUMNS, groups]},
        "since": _model(Since, since),
    }
    return _model(Source, shapes)


def _delivery() -> Schema:
    ids: Schema = {"type": "object", "minProperties": 1, "additionalProperties": _TEXT, **_NAMES}
    secrets = _model(Secrets, {"env": _TEXT, "file": _TEXT})
    shapes: dict[str, Schema] = {
        "store": {"anyOf": [_TEXT, _model(StoreColumn, {"column": _COLUMN, "map": ids})]},
        "secrets": {**secrets, "oneOf": [{"required": [key]} for key in Secrets.model_fields]},
        "stores_at_once": {"type": "integer", "minimum": 1},
        "rate": {"type": "number", "exclusiveMinimum": 0},
        "concurrency": {"type": "integer", "minimum": 1},
        "not_newer_than": _DURATION,
    }
    return _model(Delivery, shapes)


def _events() -> Schema:
    hashed: dict[str, Schema] = {
        "hash": {"anyOf": [_COLUMNS, {"const": "*"}]},
        "prefix": {"type": "string", "minLength": 1},
        "occurrence": {"type": "boolean"},
    }
    template = {"type": "string", "pattern": r"\{"}
    data = {
        "type": "object",
        "properties": {"$extra": {"type": "object", "additionalProperties": _ref("node"), **_NAMES}},
        "additionalProperties": _ref("any"),
        "maxProperties": api.DATA_PROPERTIES + 1,
        **_NAMES,
    }
    data["properties"]["$extra"]["description"] = "Anything, nested too; kept, but not segmentable."
    shapes: dict[str, Schema] = {
        "eventName": _ref("text"),
        "uniqueId": {"anyOf": [template, _model(HashId, hashed)]},
        "eventTimestamp": _ref("time"),
        "value": _ref("number"),
        "valueCurrency": _ref("text"),
        "customer": _customer(),
        "data": data,
        "where": _TEXT,
    }
    return {"type": "array", "minItems": 1, "items": _model(Event, shapes, skip=("extra",))}


def _customer() -> Schema:
    location = {key: _ref("number" if key in api.LOCATION_NUMBERS else "text") for key in Location.model_fields}
    shapes: dict[str, Schema] = {
        **{key: _ref("text") for key in api.CUSTOMER_TEXTS},
        "phoneNumber": _ref("phone"),
        "location": _model(Location, location),
        "customFields": {"type": "object", "additionalProperties": _ref("any"), **_NAMES},
    }
    schema = _model(Customer, shapes)
    return {**schema, "anyOf": [{"required": [key]} for key in api.IDENTIFIERS]}


def _value(kind: str) -> Schema:
    """One form of values: a short form, or the long form with the options that make sense there."""
    constant = _CONSTANTS.get(kind, _SCALAR)
    if kind != "node":
        return {"anyOf": [constant, _long(kind)]}
    nested: Schema = {"type": "object", "additionalProperties": _ref("node"), **_NAMES}
    return {"anyOf": [constant, _long(kind), nested, {"type": "array", "items": _ref("node")}]}


def _long(kind: str) -> Schema:
    # `otherwise` and `default` may be anything that the place itself may be, but no object or list.
    inner = _ref("any" if kind == "node" else kind)
    words = words_of(Value.model_fields["type"])
    shapes: dict[str, Schema] = {
        "column": _COLUMN,
        "sql": _TEXT,
        "template": _TEXT,
        "const": _SCALAR,
        "collect": {"type": "object", "additionalProperties": _ref("node"), **_NAMES},
        "type": {"enum": _TYPES.get(kind, words if kind == "node" else [word for word in words if word != "json"])},
        "format": _TEXT,
        "timezone": _TEXT,
        "region": {"enum": sorted(api.COUNTRIES)},
        "map": {
            "type": "object",
            "minProperties": 1,
            "anyOf": [{"additionalProperties": {"type": one}} for one in ("string", "number", "boolean")],
        },
        "otherwise": inner,
        "default": inner,
        "required": {"type": "boolean"},
    }
    skip = {
        "collect": kind == "node",
        "format": kind in ("time", "any", "node"),
        "timezone": kind in ("time", "any", "node"),
        "region": kind == "phone",
    }
    left_out = tuple(key for key, kept in skip.items() if not kept)
    schema = _model(Value, shapes, skip=left_out)
    return {**schema, "oneOf": [{"required": [key]} for key in LEAF_KEYS if key not in left_out]}
