"""The mapping's reference in Markdown, for the README: every key, from the models' fields."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from backfill.mapping.leaf import Value
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
from backfill.mapping.schema import words_of

__all__ = ["reference_markdown"]

_SECTIONS: Sequence[tuple[str, type[BaseModel]]] = (
    ("The file", Mapping),
    ("`source`", Source),
    ("`source.csv`", CsvOptions),
    ("`source.numbers`", Numbers),
    ("`source.group_by`", GroupBy),
    ("`source.since`", Since),
    ("Each of `events`", Event),
    ("`uniqueId`, as a hash", HashId),
    ("`customer`", Customer),
    ("`customer.location`", Location),
    ("A value, in its long form", Value),
    ("`delivery`", Delivery),
    ("`delivery.store`, of many stores", StoreColumn),
    ("`delivery.secrets`", Secrets),
)
# Not keys of the file: where it lies, and what stands under `data.$extra`.
_HIDDEN = ("path", "extra")


def reference_markdown() -> str:
    """A table for each part of the file; **bold** keys are required."""
    return "\n\n".join(_section(title, model) for title, model in _SECTIONS) + "\n"


def _section(title: str, model: type[BaseModel]) -> str:
    fields = {key: info for key, info in model.model_fields.items() if key not in _HIDDEN}
    rows = [f"| {_key(key, info)} | {_meaning(info)} | {_examples(info)} |" for key, info in fields.items()]
    return "\n".join([f"#### {title}", "", "| key | meaning | for example |", "|---|---|---|", *rows])


def _key(key: str, info: FieldInfo) -> str:
    return f"**`{key}`**" if info.is_required() else f"`{key}`"


def _meaning(info: FieldInfo) -> str:
    words = " ".join(f"`{word}`" for word in words_of(info) if word != "*")
    default = info.default
    if isinstance(default, bool) or (isinstance(default, str) and default):
        words += f"{' (' if words else ''}`{_flow(default)}` unless given{')' if words else '.'}"
    meaning = f"{info.description or ''} {words}".strip()
    return meaning.replace("|", "\\|")


def _examples(info: FieldInfo) -> str:
    return "<br>".join(f"`{_flow(example)}`".replace("|", "\\|") for example in info.examples or ())


def _flow(example: object) -> str:
    """As YAML on one line."""
    match example:
        case dict():
            return "{" + ", ".join(f"{_flow(key)}: {_flow(value)}" for key, value in example.items()) + "}"
        case list():
            return "[" + ", ".join(map(_flow, example)) + "]"
        case str() if re.fullmatch(r"[A-Za-z0-9%$./_][\w /.%*()-]*", example):
            return example
        case _:
            return json.dumps(example, ensure_ascii=False)
