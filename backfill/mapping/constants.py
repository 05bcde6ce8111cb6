"""Constants: whether a text, number or boolean in a mapping can be what its field takes."""

from __future__ import annotations

import math
from datetime import datetime

from backfill import api
from backfill.mapping.findings import Findings, quoted
from backfill.mapping.leaf import Scalar
from backfill.mapping.times import bad_zone
from backfill.mapping.tree import Object, Text, Tree, describe
from backfill.mapping.words import suggest

__all__ = ["check_constant", "check_map", "family"]

_KINDS = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "datetime": "a date-time",
    "date": "a date",
}


def check_constant(
    findings: Findings, tree: Tree, name: str, kind: str | None, rule: str = "", *, stated: bool = False
) -> Scalar | None:
    """The constant. `stated`: the user gave the type, so that 5 may become "5"."""
    if not isinstance(tree, Text):
        findings.wrong(tree, f"{name} has to be a text, number or boolean, not {describe(tree)}")
        return None
    value = tree.value
    if value is None:
        findings.wrong(tree, f"{name} has no value", "leave the key out, or give it one")
        return None
    if tree.dubious and (stated or kind != "string"):
        findings.wrong(
            tree,
            f"{tree.text} could be a text or a number",
            f'write "{tree.text}" if it is a text' + _plainly(value),
        )
        return None
    if not _fits(value, kind, stated=stated):
        hint = f'write "{tree.text}" in quotes' if kind == "string" else ""
        if kind in ("number", "integer") and isinstance(value, str) and _number(value):
            hint = f"write {value} without quotes"
        findings.wrong(tree, f"{name} has to be {_KINDS[kind or 'string']}, not {describe(tree)}", hint)
        return None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > api.SAFE_INTEGER:
        findings.wrong(tree, f"{value} is too large for the API's numbers", f'write "{value}", as a text')
        return None
    _check_rule(findings, tree, name, rule)
    return value


def check_map(
    findings: Findings, tree: Tree, name: str, kind: str | None, rule: str, *, stated: bool = False
) -> dict[str, Scalar] | None:
    """The map, from the keys as they are written; its values are all texts, all numbers or all booleans."""
    if not isinstance(tree, Object) or not tree.entries:
        what = "an empty one" if isinstance(tree, Object) else describe(tree)
        findings.wrong(tree, f"map has to be an object, not {what}", "as in {g: Gold, s: Silver}")
        return None
    found: dict[str, Scalar] = {}
    first: Text | None = None
    if kind in ("datetime", "date"):
        kind, rule = None, ""
    for key, entry in tree.entries.items():
        if isinstance(entry.value, Text) and entry.value.value is None:
            findings.wrong(
                entry.value,
                f"map gives {quoted(key)} no value",
                "for null use sql, as in NULLIF(column, 'x')",
            )
            continue
        value = check_constant(findings, entry.value, name, kind, rule, stated=stated)
        if value is None or not isinstance(entry.value, Text):
            continue
        if first is not None and family(value) != family(first.value):
            message = f"a map's values are of one kind: {describe(entry.value)} is not like {describe(first)}"
            findings.wrong(entry.value, message, "texts, numbers or booleans")
        first = first or entry.value
        found[key] = value
    return found


def _fits(value: Scalar, kind: str | None, *, stated: bool) -> bool:
    match kind:
        case None | "json":
            return True
        case "string":
            return isinstance(value, str) or stated
        case "number":
            return family(value) == "number" or (stated and _number(value))
        case "integer":
            return (family(value) == "number" and float(value) == int(value)) or (stated and _number(value))
        case "boolean":
            return isinstance(value, bool) or stated
        case _:
            return isinstance(value, str) and _time(value)


def family(value: object) -> str:
    """The kind of a scalar, in a user's words."""
    return "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def _number(value: object) -> bool:
    try:
        return math.isfinite(float(str(value)))
    except ValueError:
        return False


def _time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _plainly(value: object) -> str:
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value) and abs(value) < 1e15):
        return f", else {value:g}" if isinstance(value, float) else f", else {value}"
    return ""


def _check_rule(findings: Findings, tree: Text, name: str, rule: str) -> None:
    value = tree.value
    if rule == "eventName" and not str(value).strip():
        findings.wrong(tree, f"{name} is empty")
    elif rule == "currency" and value not in api.CURRENCIES:
        near = suggest(str(value), sorted(api.CURRENCIES))
        findings.wrong(tree, f"{quoted(str(value))} is no currency", near or "ISO 4217, as in USD")
    elif rule == "country" and value not in api.COUNTRIES:
        near = {"UK": 'did you mean "GB"?', "USA": 'did you mean "US"?'}.get(str(value).upper(), "")
        near = near or (suggest(str(value), sorted(api.COUNTRIES)) if len(str(value)) == 2 else "")
        findings.wrong(tree, f"{quoted(str(value))} is no country", near or "ISO 3166-1 alpha-2, as in US")
    elif rule == "zone" and (bad := bad_zone(str(value))) is not None:
        findings.wrong(tree, *bad)
    elif rule in api.LOCATION_NUMBERS and isinstance(value, int | float) and abs(value) > api.LOCATION_NUMBERS[rule]:
        limit = api.LOCATION_NUMBERS[rule]
        findings.wrong(tree, f"{name} has to be from -{limit:g} to {limit:g}, not {value}")
