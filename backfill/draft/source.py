"""The part of a mapping under `source`."""

from __future__ import annotations

from collections.abc import Sequence

from backfill.draft.amounts import PLAIN
from backfill.draft.lines import TODO
from backfill.draft.scalars import comment, flow, path, quoted, scalar, sql_text
from backfill.draft.sheet import Sheet
from backfill.draft.unwanted import Unwanted

__all__ = ["write_source", "write_unwanted"]

ABOVE_SHOWN = 3
COLUMNS_SHOWN = 3


def write_source(sheet: Sheet) -> None:
    """Files, how they are written, the zone, what to leave out, and which rows belong together."""
    found, lines = sheet.found, sheet.lines
    source = found.sample.source
    lines.add(0, "source:")
    lines.add(1, f"files: {path(sheet.files)}")
    if source.format:
        lines.add(1, f"format: {source.format}", "by the file's beginning: its suffix does not tell")
    _csv(sheet)
    _numbers(sheet)
    _zone(sheet)
    write_unwanted(sheet, 1, [one for one in found.tests if not _of_group(sheet, one)])
    _group(sheet)


def write_unwanted(sheet: Sheet, depth: int, tests: Sequence[Unwanted] | None = None) -> None:
    """What leaves out rows that nobody wants, for the user to say so; without `tests` it is what leaves out groups."""
    tests = [one for one in sheet.found.tests if _of_group(sheet, one)] if tests is None else tests
    if not tests:
        return
    # Undecided they are sent, and a flow that greets an order may greet a cancelled one.
    sheet.lines.say(depth, f"{TODO} {'; '.join(one.why for one in tests)}; to leave them out take the # away:")
    whole = tests[0].sql if len(tests) == 1 else " AND ".join(f"({one.sql})" for one in tests)
    sheet.lines.lines.append("  " * depth + f"# where: {sql_text(whole)}")


def _of_group(sheet: Sheet, one: Unwanted) -> bool:
    """Whether the whole group is meant: what it says may stand on the first row alone, and must not go without it."""
    return sheet.grouped and one.column.reference not in sheet.varying


def _csv(sheet: Sheet) -> None:
    found, lines = sheet.found, sheet.lines
    parts: dict[str, str] = {}
    notes: list[str] = []
    dialects = {opened.dialect for opened in found.sample.files if opened.dialect is not None}
    for dialect in list(dialects)[:1]:
        if dialect.encoding not in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            parts["encoding"] = scalar(dialect.encoding)
            notes.append("the encoding is a guess, by the letters that are not ASCII")
        if sheet.found.sample.source.csv.skip_lines:
            parts["skip_lines"] = str(dialect.skip_lines)
            notes.append("below these lines the rows are as wide as the header")
        if above := found.sample.above:
            shown = "; ".join(f'"{comment(line)}"' for line in above[:ABOVE_SHOWN])
            more = f" and {len(above) - ABOVE_SHOWN:,} more" if len(above) > ABOVE_SHOWN else ""
            notes.append(f"above the header, and skipped: {shown}{more}")
        if not dialect.header:
            parts["header"] = "false"
            notes.append("the first line looks like data: name the columns with columns: [...]")
        if len(dialect.columns) == 1 and len(found.columns) == 1:
            notes.append("one column was found: if there are more, say separator:")
    if found.nulls:
        parts["null_values"] = "[" + ", ".join(quoted(word) for word in found.nulls) + "]"
        told = ", ".join(_null_told(word, count, found.null_columns[word]) for word, count in found.nulls.items())
        notes.append(f"taken for empty, in all columns: {told}")
    for note in notes:
        lines.say(1, note)
    if parts and len(dialects) <= 1:
        lines.add(1, f"csv: {flow(**parts)}")


def _null_told(word: str, count: int, columns: Sequence[str]) -> str:
    """`"k.A." in 3 cells, as of Telefon, which else hold numbers`."""
    names = ", ".join(comment(name, 30) for name in columns[:COLUMNS_SHOWN])
    more = f" and {len(columns) - COLUMNS_SHOWN} more columns" if len(columns) > COLUMNS_SHOWN else ""
    return f'"{comment(word)}" in {count:,} {"cell" if count == 1 else "cells"} (as in {names}{more})'


def _numbers(sheet: Sheet) -> None:
    style = sheet.found.style
    if style == PLAIN:
        return
    parts = {"decimal": quoted(style.decimal)} if style.decimal != "." else {}
    if style.thousands:
        parts["thousands"] = quoted(style.thousands)
    shown = [
        f"{comment(one, 20)} in {comment(column.reference)}"
        for column in sheet.found.columns if column.number is not None and not column.private
        for one in column.examples if not one.isdigit()
    ]  # fmt: skip
    note = f"as in {shown[0]}" if shown else "by how the numbers are written"
    todo = (
        "1,234 could be a thousand or one and a fraction; a thousand is likelier" if sheet.found.doubtful_style else ""
    )
    sheet.lines.add(1, f"numbers: {flow(**parts)}", note, todo)


def _zone(sheet: Sheet) -> None:
    if "timezone" not in sheet.asked:
        return
    zone = sheet.found.zone
    which = [column for column in sheet.found.times if column.moment is not None and not column.moment.zoned]
    names = comment(which[0].reference) if which else "the times"
    others = f" and {len(which) - 1} more" if len(which) > 1 else ""
    plural = "carry" if others else "carries"
    todo = f"{names}{others} {plural} no zone, and {zone.value} is {zone.reason}. Which is it? As in America/New_York"
    note = "as you said" if "timezone" in sheet.answers else ""
    sheet.lines.add(
        1, f"timezone: {scalar(sheet.answers.get('timezone', zone.value))}", note, sheet.todo("timezone", todo)
    )


def _group(sheet: Sheet) -> None:
    repeats = sheet.found.repeats
    if repeats is None or not sheet.grouped:
        return
    name = scalar(repeats.column.reference)
    mean = f"{repeats.rows:,} rows have {repeats.groups:,} values of it: line items, so one event for each value"
    if repeats.apart:
        note = f"{mean}; {repeats.apart:,} of them {'comes' if repeats.apart == 1 else 'come'} back later"
        sheet.lines.add(1, "group_by: " + flow(columns=f"[{name}]", adjacent="false"), note)
    else:
        sheet.lines.add(1, f"group_by: [{name}]", f"{mean}; rows of one stand together")
