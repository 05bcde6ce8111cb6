"""Findings and answers → the mapping's text. It is pure: the same ones give the same text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backfill import api
from backfill.draft.columns import Column
from backfill.draft.customer import write_customer
from backfill.draft.guess import Findings, Guess, is_number
from backfill.draft.names import title
from backfill.draft.scalars import comment, flow, quoted, reference, scalar, sql_text, value_of
from backfill.draft.sheet import STAND_IN, Sheet
from backfill.draft.source import write_source, write_unwanted
from backfill.draft.values import amount, described, joined_time, time, typed, zero_words

__all__ = ["write"]

DATA = api.DATA_PROPERTIES - 50
NAME_LENGTH = 500
QUANTITIES = frozenset(("quantity", "qty", "menge", "anzahl", "units", "pieces", "count", "stück", "cantidad"))
EACH = frozenset(("price", "preis", "prix", "precio", "unit", "each"))
LINE_WORDS = ("Lineitem ", "Line Item ", "Item ", "Product ")


def write(
    found: Findings, answers: Mapping[str, str], files: str, heading: Sequence[str], *, stand_in: bool = False
) -> str:
    """The mapping of an export. `files` is what `source.files` says, `heading` what stands above all.

    `stand_in` fills in what is missing and has to be decided, so that the rest can be checked.
    """
    sheet = Sheet(found, answers, files, stand_in)
    for line in heading:
        sheet.lines.say(0, line)
    _left_out(sheet)
    sheet.lines.blank()
    write_source(sheet)
    sheet.lines.blank()
    sheet.lines.add(0, "events:")
    _name(sheet)
    write_unwanted(sheet, 2)
    _unique_id(sheet)
    _timestamp(sheet)
    _value(sheet)
    write_customer(sheet)
    _data(sheet)
    return sheet.lines.text()


def _left_out(sheet: Sheet) -> None:
    kinds = {
        "empty": "Empty, left out",
        "bytes": "Bytes, left out",
        "secret": "Left out, as they look like secrets",
        "unfit": "Left out, as no mapping can read them",
    }
    groups: dict[str, list[str]] = {}
    for column, why in sheet.found.left:
        kind, _, shown = why.partition(" ")
        label = kinds.get(kind, "The same in every row, left out")
        groups.setdefault(label, []).append(comment(column.reference) + (f" ({comment(shown)})" if shown else ""))
    for label, columns in groups.items():
        more = f" and {len(columns) - 40} more" if len(columns) > 40 else ""
        sheet.lines.say(0, f"{label}: {', '.join(columns[:40])}{more}.")


def _name(sheet: Sheet) -> None:
    event, lines = sheet.found.event, sheet.lines
    forever = "a name that Redo has never seen becomes a new type, for good"
    if event.column is not None:
        sheet.used.add(event.column.reference)
        lines.say(1, f"{event.reason}; a type that is not here is rejected, as {forever}")
        pairs = "{" + ", ".join(f"{scalar(old)}: {scalar(new)}" for old, new in event.types) + "}"
        code = flow(column=scalar(event.column.reference), map=pairs)
        lines.add(1, f"- eventName: {code}")
        return
    name = sheet.answers.get("event_name", event.name)
    value = scalar(name.replace("{", "{{").replace("}", "}}"))
    if "event_name" in sheet.answers:
        lines.add(1, f"- eventName: {value}", f"as you said; {forever}")
    else:
        todo = "" if event.sure else f'is this what happened? "{name}" is a guess ({event.reason}); {forever}'
        lines.add(1, f"- eventName: {value}", f"{event.reason}; {forever}" if event.sure else "", todo)


def _unique_id(sheet: Sheet) -> None:
    found, lines, key = sheet.found, sheet.lines, sheet.key
    prefix = found.event.prefix
    never = "never change it after you sent"
    looked = "all" if found.sample.whole else "the"
    if key is None:
        hashed = [column.reference for column in found.hashed] or _hashable(sheet)
        names = "[" + ", ".join(map(scalar, hashed)) + "]" if hashed else '"*"'
        code = flow(hash=names, prefix=quoted(f"{prefix}:"), occurrence="true")
        lines.say(2, f"no column identifies a row, so several do together; of rows alike in them each counts. {never}")
        lines.add(2, f"uniqueId: {code}")
        return
    short = reference(key.reference)
    if sheet.grouped:
        note = f"one for each group; {never}"
    else:
        note = f"filled and different in {looked} {found.rows:,} rows; {never}"
        if not found.rows:
            note = f"by its name; {never}"
        elif not key.unique:
            note = f"filled, and different in {key.distinct:,} of {found.rows:,} rows; {never}"
    if short is None or key.kind == "email":
        code = flow(hash=f"[{scalar(key.reference)}]", prefix=quoted(f"{prefix}:"))
        note += "; a hash, so that no address is in an id" if key.kind == "email" else ""
    else:
        code = quoted(f"{prefix}:{short}")
    lines.add(2, f"uniqueId: {code}", note)


def _hashable(sheet: Sheet) -> list[str]:
    roles = ("time", "email", "phone", "value")
    return [sheet.found.roles[role].reference for role in roles if role in sheet.found.roles]


def _timestamp(sheet: Sheet) -> None:
    column = sheet.take("time")
    if column is None:
        todo = 'no column tells when it happened. Name one, as in eventTimestamp: "{created_at}", or a date for all'
        sheet.lines.add(2, f"eventTimestamp: {STAND_IN['eventTimestamp']}" if sheet.stand_in else "# eventTimestamp:",
                       todo=todo)  # fmt: skip
        return
    clock = sheet.roles.get("clock")
    joined = (
        None
        if clock is None or clock.filled < column.filled
        else joined_time(column, clock, months_first=sheet.months_first)
    )
    code, note = joined or time(column, months_first=sheet.months_first)
    if joined is not None and clock is not None:
        sheet.used.add(clock.reference)
    sheet.lines.add(2, f"eventTimestamp: {code}", note + sheet.emptiness(column), sheet.doubt(column))


def _value(sheet: Sheet) -> None:
    column = sheet.take("value")
    if column is not None:
        _worth(sheet, column)
    elif sheet.grouped and sheet.found.roles.get("value") is not None:
        _sum(sheet, sheet.found.roles["value"])
    else:
        return
    _currency(sheet)


def _worth(sheet: Sheet, column: Column) -> None:
    if {"cents", "cent", "minor"} & set(column.name.words) and (column.number is None or not column.number.sign):
        sheet.lines.add(2, f"value: {flow(sql=sql_text(f'{column.sql} / 100'))}", "by its name in cents")
        return
    code, note = amount(column, sheet.found.style, needed=True)
    shown = note + zero_words(column, data=False) + described(column)
    sheet.lines.add(2, f"value: {code}", shown)


def _sum(sheet: Sheet, column: Column) -> None:
    """No column has the whole's worth: it is the sum of the lines'."""
    if column.number is not None and column.number.sign:
        return
    counts = [
        one for one in sheet.found.columns if QUANTITIES & set(one.name.words) and is_number(one, sheet.found.style)
    ]
    times = bool(counts and EACH & set(column.name.words))
    sql = f"SUM({column.sql} * {counts[0].sql})" if times else f"SUM({column.sql})"
    why = f"{comment(column.reference)} of each row" + (f" times {comment(counts[0].reference)}" if times else "")
    sheet.lines.add(
        2, f"value: {flow(sql=sql_text(sql))}", todo=f"the sum of {why} is a guess: is it the whole's worth?"
    )


def _currency(sheet: Sheet) -> None:
    column, guess = sheet.take("currency"), sheet.found.currency
    if column is not None:
        sheet.lines.add(2, f"valueCurrency: {value_of(column.reference)}", described(column))
        return
    guess = guess or Guess("USD", "a guess")
    said = "currency" in sheet.answers
    code = sheet.answers.get("currency", guess.value)
    todo = "" if guess.sure else sheet.todo("currency", f"no column says the currency; {code} is {_by(guess)}")
    sheet.lines.add(2, f"valueCurrency: {code}", "as you said" if said else guess.reason if guess.sure else "", todo)


def _data(sheet: Sheet) -> None:
    out = {column.reference for column, _ in sheet.found.left}
    rest = [column for column in sheet.columns if column.reference not in sheet.used | out]
    long = [column for column in rest if len(column.reference) > NAME_LENGTH]
    rest = [column for column in rest if len(column.reference) <= NAME_LENGTH]
    plain = [column for column in rest if column.reference not in sheet.varying]
    lines = [column for column in rest if column.reference in sheet.varying]
    if not rest:
        return
    sheet.lines.add(2, "data:")
    extra: list[tuple[Column, str, str]] = []
    count = 0
    for column in plain:
        code, note, nested = typed(column, sheet.found.style, months_first=sheet.months_first)
        if nested or count >= DATA:
            extra.append((column, code, note))
        else:
            count += 1
            sheet.lines.add(3, f"{_title(column, sheet.names)}: {code}", note, sheet.doubt(column))
    if extra or lines:
        _nested(sheet, extra, lines)
    if long:
        sheet.lines.say(3, f"{len(long)} columns with very long names are left out")


def _nested(sheet: Sheet, extra: Sequence[tuple[Column, str, str]], items: Sequence[Column]) -> None:
    names: set[str] = set()
    sheet.lines.add(3, "$extra:", "kept with the event, but nothing can be segmented by it")
    for column, code, note in extra:
        sheet.lines.add(4, f"{_title(column, names)}: {code}", note, sheet.doubt(column))
    if items:
        sheet.lines.add(4, f"{_free('Items', names)}:")
        sheet.lines.add(5, "collect:", "what differs inside of a group")
    inner: set[str] = set()
    for column in items:
        code, note, _ = typed(column, sheet.found.style, months_first=sheet.months_first)
        sheet.lines.add(6, f"{_title(column, inner, item=True)}: {code}", note, sheet.doubt(column))


def _title(column: Column, taken: set[str], *, item: bool = False) -> str:
    name = title(column.label)
    for word in LINE_WORDS if item else ():
        if name.startswith(word) and len(name) > len(word):
            name = title(name.removeprefix(word))
    return scalar(_free(name, taken))


def _free(name: str, taken: set[str]) -> str:
    """The name, numbered where it is taken."""
    fresh, number = name, 1
    while fresh in taken:
        number += 1
        fresh = f"{name} ({number})"
    taken.add(fresh)
    return fresh


def _by(guess: Guess) -> str:
    return guess.reason if guess.reason == "a guess" else f"a guess {guess.reason}"
