"""A column → the value that a mapping makes of it, and what is said about it."""

from __future__ import annotations

import re

import polars as pl

from backfill.draft.amounts import PLAIN
from backfill.draft.columns import TRUE_FALSE, Column, harmless
from backfill.draft.moments import Moment, swapped
from backfill.draft.names import is_keyed
from backfill.draft.scalars import comment, flow, quoted, reference, scalar, sql_text, value_of
from backfill.shape.convert import Numerals

__all__ = [
    "amount",
    "date_shown",
    "described",
    "joined_time",
    "moment_note",
    "percent",
    "share_words",
    "time",
    "typed",
    "zero_words",
]

SAFE_DIGITS = 15
ENOUGH = 0.98
MOSTLY = 0.9
MANY_ZEROS = 9
PLACE = 80
DATE_LIKE = re.compile(
    r"\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}(?:,?[ T][\d:.]{1,15}(?: ?[AaPp][Mm])?)?(?:Z| ?[+-]\d\d:?\d\d)?"
)


def percent(part: int, whole: int) -> str:
    """`80 %`; 100 and 0 only where it is all or none."""
    if not whole or part >= whole:
        return "100 %" if whole else "0 %"
    share = 100 * part / whole
    return "under 1 %" if 0 < share < 1 else f"{int(share)} %"


def share_words(column: Column) -> str:
    empty = column.rows - column.filled
    return f"{percent(empty, column.rows)} empty" if empty else "never empty"


def described(column: Column) -> str:
    """How empty it is, and what may be shown of it."""
    kind = {"email": "email, ", "phone": "phone, "}.get(column.kind, "")
    shown = f"; such as {', '.join(comment(one, 40) for one in column.examples)}" if column.examples else ""
    return f"{kind}{share_words(column)}{shown}"


def typed(column: Column, style: Numerals, *, months_first: bool | None) -> tuple[str, str, bool]:
    """The value under `data`, what is said about it, and whether it has to be under `$extra`."""
    name = column.reference
    if column.kind in ("nested", "json"):
        return value_of(name, type="json"), described(column), True
    if column.kind == "time":
        code, note = time(column, months_first=months_first, data=True)
        return code, f"{note}; {share_words(column)}", False
    if column.kind == "boolean" and column.true is not None:
        return _boolean(column), described(column), False
    if column.kind in ("integer", "number"):
        code, note = amount(column, style)
        return code, f"{note}{zero_words(column, data=True)}{described(column)}", False
    return value_of(name), described(column), column.long


def _boolean(column: Column) -> str:
    assert column.true is not None
    if column.true in TRUE_FALSE:
        return value_of(column.reference, type="boolean")
    true, false = column.true
    found = [value for value, _ in column.values] or [true, false]
    pairs = {scalar(value): "true" if value.casefold() == true else "false" for value in found}
    return value_of(column.reference, map=flow(**pairs))


def amount(column: Column, style: Numerals, *, needed: bool = False) -> tuple[str, str]:
    """A number as a value, and a note on it. `needed`: the field wants a number, and types it itself."""
    name, number = column.reference, column.number
    if number is None:
        identifies = column.dtype.is_integer() and is_keyed(column.name) and not needed
        return (value_of(name, type="string"), "") if identifies else (value_of(name), "")
    kind = "integer" if column.kind == "integer" and not number.sign else "number"
    fits = number.fit(style)
    if not needed and (number.zeros or number.digits > SAFE_DIGITS or is_keyed(column.name)):
        return value_of(name), "kept as text; " if not is_keyed(column.name) else ""
    options = {} if needed else {"type": kind}
    bad = number.given - fits
    wrong = f"{bad:,} of {number.given:,} are no numbers; " if bad else ""
    if bad and not needed:
        if fits < ENOUGH * number.given:
            if number.fit(PLAIN) >= ENOUGH * number.given:
                return flow(sql=sql_text(f"TRY_CAST({column.sql} AS DOUBLE)")), "written with a point; "
            return value_of(name), "kept as text, as many are no numbers; "
        options["on_invalid"] = "omit"
    if number.sign:
        text = number.sign.replace("'", "''")
        return flow(sql=sql_text(f"REPLACE({column.sql}, '{text}', '')"), **options), f"{wrong}without {number.sign}; "
    return value_of(name, **options), wrong


def time(column: Column, *, months_first: bool | None, data: bool = False) -> tuple[str, str]:
    """A time as a value, and the reason for its format. `months_first` is what the user said, where asked."""
    moment, name = column.moment, column.reference
    assert moment is not None
    moment = ordered(moment, months_first)
    options: dict[str, str] = {}
    if data and (column.text or moment.format):
        options["type"] = "datetime" if moment.clock else "date"
    if data and moment.fits < moment.given:
        options["on_invalid"] = "omit"
    if moment.format == "epoch_us":
        options["format"] = "epoch_ms"
        return flow(sql=sql_text(f"{column.sql} / 1000"), **options), moment_note(column, moment)
    if moment.format is not None:
        epoch = moment.format.startswith("epoch")
        options["format"] = moment.format if epoch else quoted(moment.format)
        short = reference(name)
        if not epoch and not column.text and short is not None:
            # A number is a time by its digits only as a text.
            return flow(template=quoted(short), **options), moment_note(column, moment)
    return value_of(name, **options), moment_note(column, moment)


def ordered(moment: Moment, months_first: bool | None) -> Moment:
    if moment.other is None or months_first is None or months_first == moment.months_first:
        return moment
    return swapped(moment)


def joined_time(column: Column, clock: Column, *, months_first: bool | None) -> tuple[str, str] | None:
    """A day and the time of day of another column as one time; None where they can't be put together."""
    assert column.moment is not None
    moment = ordered(column.moment, months_first)
    day, hours = reference(column.reference), reference(clock.reference)
    if moment.clock or day is None or hours is None or not column.text or clock.clock is None:
        return None
    form = f"{moment.format or '%Y-%m-%d'} {clock.clock}"
    note = f"{moment_note(column, moment)}; the time of day is in {comment(clock.reference)}"
    return flow(template=quoted(f"{day} {hours}"), format=quoted(form)), note


def moment_note(column: Column, moment: Moment) -> str:
    """`9,998 of 10,000 are dates; day first: "31/12/2023" in row 7`."""
    noun = "times" if moment.clock else "dates"
    if isinstance(column.dtype, pl.Datetime | pl.Date):
        return f"{noun} by the column's own type"
    if moment.format in ("epoch_s", "epoch_ms", "epoch_us"):
        unit = {"epoch_s": "seconds", "epoch_ms": "milliseconds", "epoch_us": "microseconds"}[moment.format]
        return f"{moment.fits:,} of {moment.given:,} are {unit} since 1970"
    note = f"{moment.fits:,} of {moment.given:,} are {noun}"
    if moment.proof is not None:
        note += f"; {'month' if moment.months_first else 'day'} first: {date_shown(column, moment.proof)}"
    elif column.examples and moment.other is None:
        note += f", such as {comment(column.examples[0], 40)}"
    if moment.mixed:
        note += "; others have it the other way round"
    if moment.odd and not moment.mixed:
        odd = [date_shown(column, one) for one in moment.odd]
        more = moment.given - moment.fits - len(odd)
        note += f"; no {noun[:-1]}: {', '.join(odd)}" + (f" and {more:,} more" if more else "")
    return note


def date_shown(column: Column, cell: tuple[str, str]) -> str:
    """`"31.02.2023" at orders.csv:17`; of what may be personal the place alone."""
    text, place = cell
    fine = not column.private and (DATE_LIKE.fullmatch(text) or harmless(text))
    return (f'"{comment(text, 40)}" ' if fine else "") + f"at {comment(place, PLACE)}"


def zero_words(column: Column, *, data: bool) -> str:
    """What is said of amounts that nearly all are 0."""
    if column.zeros < MANY_ZEROS or column.zeros < MOSTLY * column.filled:
        return ""
    kept = ", which the API does not store in data" if data else ""
    return f"0 in {column.zeros:,} of {column.rows:,} rows{kept}; "
