"""The mapping file: what turns an export's rows into events.

`read` gives a Draft with every problem at its line and column; `load` gives the Mapping or raises them.
"""

from __future__ import annotations

from typing import Any

from backfill.mapping.durations import DurationError, duration_words, parse_duration
from backfill.mapping.findings import Reference
from backfill.mapping.leaf import Node, Path, Scalar, Value
from backfill.mapping.load import Draft, load, parse, read
from backfill.mapping.models import (
    STORE,
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
    TemplateId,
    UniqueId,
)
from backfill.mapping.template import Field, Template, TemplateError, parse_template
from backfill.mapping.words import suggest

__all__ = [
    "STORE",
    "CsvOptions",
    "Customer",
    "Delivery",
    "Draft",
    "DurationError",
    "Event",
    "Field",
    "GroupBy",
    "HashId",
    "Location",
    "Mapping",
    "Node",
    "Numbers",
    "Path",
    "Reference",
    "Scalar",
    "Secrets",
    "Since",
    "Source",
    "StoreColumn",
    "Template",
    "TemplateError",
    "TemplateId",
    "UniqueId",
    "Value",
    "duration_words",
    "json_schema",
    "load",
    "parse",
    "parse_duration",
    "parse_template",
    "read",
    "reference_markdown",
    "suggest",
]


def json_schema() -> dict[str, Any]:
    """The file's JSON Schema, draft 2020-12."""
    from backfill.mapping import schema

    return schema.json_schema()


def reference_markdown() -> str:
    """The file's keys as Markdown tables."""
    from backfill.mapping import reference

    return reference.reference_markdown()
