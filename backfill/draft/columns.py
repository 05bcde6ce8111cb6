"""Columns of a sample → what each holds: its kind, how full it is, what may be shown of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from backfill import api
from backfill.draft.amounts import NumberText, find_numbers
from backfill.draft.moments import Moment, find_epoch, find_moment
from backfill.draft.names import Name, is_private, is_secret, is_timely, read_name, time_rank, value_rank
from backfill.draft.places import code_of
from backfill.draft.scalars import identifier
from backfill.records import FILE, ROW
from backfill.shape import Columns
from backfill.shape.contacts import EMAIL

__all__ = ["NULL_WORDS", "STATUS", "TRUE_FALSE", "Column", "harmless", "look_at", "references"]

# Texts that programs and people write where there is no value, in lower case.
NULL_WORDS = frozenset(
    (
        "null", "\\n", "n/a", "na", "#n/a", "none", "nan", "-", "--", "\u2013", "\u2014", "?", "(null)", "<null>",
        "[null]", "nil",
        "k.a.", "k. a.", "keine angabe", "n.a.", "n. a.", "n/d", "n.v.", "undefined", "#null!", "#ref!", "#value!",
        "#div/0!", "#name?",
    )
)  # fmt: skip
TRUE_FALSE = (
    ("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"), ("on", "off"), ("1", "0"),
)  # fmt: skip
OTHER_TRUE_FALSE = (
    ("ja", "nein"), ("j", "n"), ("oui", "non"), ("o", "n"), ("si", "no"), ("sí", "no"), ("s", "n"), ("sim", "não"),
    ("ja", "nee"), ("ja", "nej"), ("wahr", "falsch"), ("vrai", "faux"), ("subscribed", "unsubscribed"),
)  # fmt: skip
ASKS = frozenset(
    (
        "is",
        "has",
        "was",
        "accepts",
        "accepted",
        "can",
        "does",
        "opted",
        "optin",
        "opt",
        "requires",
        "taxable",
        "active",
        "test",
    )
)
MOST = 0.9
ENOUGH = 0.5
NEARLY_ALL = 0.98
NEARLY_UNIQUE = 0.99
NAMED_TIME = 100
MANY = 100
DEPTH = 6
# Such a field of a nested column is named after that one as well: "Metric ID".
VAGUE = frozenset(("id", "name", "type", "code", "key", "created", "updated", "status", "count"))
SHOWN = 24
FEW = 20
PHONE = r"^\+?[\d\s().\-/]{7,20}(?:\s?(?:x|ext\.?)\s?\d+)?$"
LONG_TEXT = 60
# Of these a value says something, though it may be there once.
LISTED = ("country", "currency", "time_zone", "state", "state_code")
CLOCKS = (
    (r"^\d{1,2}:\d\d:\d\d$", "%H:%M:%S"),
    (r"^\d{1,2}:\d\d$", "%H:%M"),
    (r"^\d{1,2}:\d\d:\d\d [AaPp][Mm]$", "%I:%M:%S %p"),
    (r"^\d{1,2}:\d\d [AaPp][Mm]$", "%I:%M %p"),
)
ZERO = r"^[^\d]*0+(?:[.,]0+)?[^\d]*$"
MOST_COUNTRIES = 300
# Names of what has few values, of which each is told though it may be there once.
STATUS = frozenset(("status", "state", "zustand", "statut", "estado", "stato", "stage"))
CARD = r"^[3-6]\d{3}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}$"


@dataclass(frozen=True, slots=True)
class Column:
    """What a column holds.

    `kind`: empty, text, integer, number, boolean, time, email, phone, json, nested, bytes. `reference` is how a mapping
    names it, `sql` how SQL does. `rows`, `filled` and `distinct` count. `values` are its few values, the most frequent
    first, with how often they are, where a column has few. `examples` are what may be shown. `clock` is the format
    of times of day. `zeros` of a number's cells are 0. `countries` are what a country's texts stand for, `known` of
    the cells hold one of these, and `coded` of them its code.
    """

    reference: str
    label: str
    dtype: pl.DataType
    name: Name
    sql: str
    kind: str
    rows: int
    filled: int
    distinct: int
    private: bool = True
    secret: bool = False
    moment: Moment | None = None
    number: NumberText | None = None
    true: tuple[str, str] | None = None
    values: tuple[tuple[str, int], ...] = ()
    examples: tuple[str, ...] = ()
    long: bool = False
    emails: int = 0
    words: int = 0
    commas: int = 0
    clock: str | None = None
    nulls: tuple[tuple[str, int], ...] = field(default=())
    zeros: int = 0
    countries: tuple[tuple[str, str], ...] = ()
    known: int = 0
    coded: int = 0

    @property
    def unique(self) -> bool:
        return 0 < self.rows == self.filled == self.distinct

    @property
    def nearly_unique(self) -> bool:
        """Whether it is but for a few rows, which an export may hold twice."""
        return self.rows == self.filled and self.rows >= MANY and self.distinct >= NEARLY_UNIQUE * self.rows

    @property
    def constant(self) -> bool:
        return self.distinct == 1 and self.filled == self.rows

    @property
    def text(self) -> bool:
        """Whether its values are texts in the export, however they read."""
        return isinstance(self.dtype, pl.String | pl.Categorical | pl.Enum)


def references(schema: Mapping[str, pl.DataType]) -> Iterator[tuple[str, str, str, pl.Expr, pl.DataType]]:
    """Every column that a mapping can name, fields of nested ones too: reference, last part, SQL, expression, type."""
    known = Columns(schema)
    for column, dtype in schema.items():
        for path, inner in _leaves((column,), dtype):
            reference = ".".join(path)
            found = known.find(reference)
            if found is None or found[1] != inner:
                continue
            sql = ".".join(map(identifier, path))
            label = " ".join(path[-2:]) if path[-1].casefold() in VAGUE else path[-1]
            yield reference, label, sql, found[0], inner


def _leaves(path: tuple[str, ...], dtype: pl.DataType) -> Iterator[tuple[tuple[str, ...], pl.DataType]]:
    if isinstance(dtype, pl.Struct) and dtype.fields and len(path) < DEPTH:
        for inner in dtype.fields:
            kind = inner.dtype() if isinstance(inner.dtype, type) else inner.dtype
            yield from _leaves((*path, inner.name), kind)
    else:
        yield path, dtype


def look_at(
    frame: pl.DataFrame, schema: Mapping[str, pl.DataType], now: datetime, files: Mapping[int, str]
) -> list[Column]:
    """What each column of the frame, which has FILE and ROW, holds. `files` has the files' names by position."""
    file = pl.col(FILE).replace_strict(files, default="", return_dtype=pl.String)
    rows = frame.select(pl.concat_str([file, pl.lit(":"), pl.col(ROW).cast(pl.String)])).to_series()
    return [
        _column((reference, label, sql), frame.select(expression.alias("x")).to_series(), dtype, rows, now)
        for reference, label, sql, expression, dtype in references(schema)
    ]


def _column(
    names: tuple[str, str, str], series: pl.Series, dtype: pl.DataType, rows: pl.Series, now: datetime
) -> Column:
    reference, label, sql = names
    name = read_name(reference)
    if not len(series):
        kind = _by_name(name, dtype)
        moment = Moment(None, 0, 0, zoned=False, clock=True) if kind == "time" else None
        return Column(reference, label, dtype, name, sql, kind, 0, 0, 0, secret=is_secret(name), moment=moment)
    common = {"reference": reference, "label": label, "dtype": dtype, "name": name, "sql": sql, "rows": len(series)}
    secret, private = is_secret(name), is_private(name)
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return _of_text(series.cast(pl.String), common, rows, now, secret=secret, private=private)
    filled = len(series) - series.null_count()
    common |= {"filled": filled, "secret": secret, "private": private}
    if not filled:
        return Column(kind="empty", distinct=0, **common)  # type: ignore[arg-type]
    if dtype.is_nested() or isinstance(dtype, pl.Binary | pl.Object | pl.Duration | pl.Time):
        kind = "nested" if dtype.is_nested() else "bytes" if not isinstance(dtype, pl.Time) else "text"
        return Column(kind=kind, distinct=min(filled, 2), **common)  # type: ignore[arg-type]
    distinct = series.drop_nulls().n_unique()
    common |= {"distinct": distinct}
    if dtype == pl.Boolean:
        return Column(kind="boolean", examples=(), **common)  # type: ignore[arg-type]
    shown = () if private else _shown(series.drop_nulls().head(100).cast(pl.String))
    if dtype.is_temporal():
        zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
        moment = Moment(None, filled, filled, zoned=zoned, clock=dtype != pl.Date)
        dates = () if private else tuple(series.drop_nulls().head(1).cast(pl.String).to_list())
        return Column(kind="time", moment=moment, examples=dates, **common)  # type: ignore[arg-type]
    integer = dtype.is_integer()
    counted = _moment_of_numbers(series, rows, name, now, integer=integer)
    if counted is not None:
        return Column(kind="time", moment=counted, examples=() if private else shown, **common)  # type: ignore[arg-type]
    if integer and name.role == "phone":
        return Column(kind="phone", **common)  # type: ignore[arg-type]
    values = _values(series.drop_nulls().cast(pl.String), distinct)
    kind = "integer" if integer else "number"
    zeros = int((series == 0).sum())
    return Column(kind=kind, examples=shown, values=values, zeros=zeros, **common)  # type: ignore[arg-type]


def _by_name(name: Name, dtype: pl.DataType) -> str:
    """What a column of no rows would hold."""
    if dtype.is_nested():
        return "nested"
    if name.role in ("email", "phone"):
        return name.role
    rank = time_rank(name)
    if dtype.is_temporal() or (dtype == pl.String and rank is not None and rank <= NAMED_TIME):
        return "time"
    if dtype.is_numeric() or value_rank(name) is not None:
        return "integer" if dtype.is_integer() else "number"
    return "boolean" if dtype == pl.Boolean else "bytes" if isinstance(dtype, pl.Binary) else "text"


def _moment_of_numbers(
    series: pl.Series, rows: pl.Series, name: Name, now: datetime, *, integer: bool
) -> Moment | None:
    if not is_timely(name):
        return None
    if integer:
        texts = series.drop_nulls().cast(pl.String)
        compact = find_moment(texts, rows.filter(series.is_not_null()), now)
        if compact is not None and compact.share >= NEARLY_ALL:
            return compact
    return find_epoch(series, now)


def _of_text(
    series: pl.Series, common: dict[str, object], rows: pl.Series, now: datetime, *, secret: bool, private: bool
) -> Column:
    name: Name = common["name"]  # type: ignore[assignment]
    stripped = series.str.strip_chars()
    at = (stripped.is_not_null() & (stripped != "")).fill_null(value=False)
    texts, places = stripped.filter(at), rows.filter(at)
    nulls = _null_words(texts, name)
    common |= {"filled": len(texts), "distinct": texts.n_unique(), "nulls": nulls}
    if nulls:
        # What else is there shows what the column holds.
        real = ~texts.is_in([word for word, _ in nulls])
        texts, places = texts.filter(real), places.filter(real)
    if not len(texts):
        kind = "empty" if not nulls else "text"
        return Column(kind=kind, secret=secret, private=private, **common)  # type: ignore[arg-type]
    emails = int(texts.str.contains(EMAIL).sum())
    common |= {"emails": emails}
    if emails >= ENOUGH * len(texts):
        return Column(kind="email", secret=secret, **common)  # type: ignore[arg-type]
    if int(texts.str.contains(CARD).sum()) >= MOST * len(texts) and _are_cards(texts.head(200).to_list()):
        return Column(kind="text", secret=True, **common)  # type: ignore[arg-type]
    if name.role == "phone" and int(texts.str.contains(r"\d{2}").sum()) >= ENOUGH * len(texts):
        return Column(kind="phone", secret=secret, **common)  # type: ignore[arg-type]
    common |= {"secret": secret, "private": private}
    true = _booleans(texts, name)
    if true is not None:
        return Column(kind="boolean", true=true, values=_values(texts, 2), **common)  # type: ignore[arg-type]
    clock = _clock(texts)
    if clock is not None:
        return Column(kind="text", clock=clock, **common)  # type: ignore[arg-type]
    moment = _moment_of_texts(texts, places, name, now)
    if moment is not None:
        return Column(kind="time", moment=moment, examples=_times_shown(texts, private), **common)  # type: ignore[arg-type]
    number = find_numbers(texts)
    if number is not None and number.best >= ENOUGH * len(texts):
        kind = "integer" if number.whole else "number"
        values = _values(texts, texts.n_unique())
        shown = () if private else _shown(texts.head(100))
        zeros = int(texts.str.contains(ZERO).sum())
        return Column(kind=kind, number=number, values=values, examples=shown, zeros=zeros, **common)  # type: ignore[arg-type]
    if int(texts.str.contains(PHONE).sum()) >= MOST * len(texts) and _are_phones(texts):
        return Column(kind="phone", **common)  # type: ignore[arg-type]
    if _are_json(texts.head(100).to_list()):
        return Column(kind="json", **common)  # type: ignore[arg-type]
    common |= _countries(texts, name)
    distinct = texts.n_unique()
    words = int(texts.str.contains(r"^[^\d@]*\s[^\d@]*$").sum())
    long = bool((texts.str.len_chars().mean() or 0) > LONG_TEXT)  # type: ignore[operator]
    again = name.role not in LISTED and not STATUS & set(name.words)
    values = _values(texts, distinct, again=again)
    commas = int(texts.str.contains(r"^[^,]+, ?[^,]+$").sum())
    shown = () if private or long or not values else _shown(pl.Series([value for value, _ in values], dtype=pl.String))
    return Column(kind="text", values=values, examples=shown, long=long, words=words, commas=commas, **common)  # type: ignore[arg-type]


def _null_words(texts: pl.Series, name: Name) -> tuple[tuple[str, int], ...]:
    found = texts.filter(texts.str.to_lowercase().is_in(NULL_WORDS)).value_counts().rows()
    # NA is Namibia.
    words = [(str(word), int(count)) for word, count in found if not (name.role == "country" and word in api.COUNTRIES)]
    return tuple(sorted(words, key=lambda one: (-one[1], one[0])))


def _countries(texts: pl.Series, name: Name) -> dict[str, object]:
    """Of a column of countries: which of the texts are known, the most frequent first, and how many texts are codes."""
    if name.role != "country":
        return {}
    counts = texts.value_counts(sort=True).head(MOST_COUNTRIES).rows()
    known = tuple(
        (text, code) for text, _ in sorted(counts, key=lambda one: (-one[1], one[0])) if (code := code_of(text))
    )
    by_name = {text for text, code in known if text.upper() != code}
    counted = dict(counts)
    return {
        "countries": known,
        "known": sum(counted[text] for text, _ in known),
        "coded": sum(counted[text] for text, _ in known if text not in by_name),
    }


def _booleans(texts: pl.Series, name: Name) -> tuple[str, str] | None:
    """The texts that mean true and false, where there are no others; 1 and 0 only where the name asks."""
    lower = texts.str.to_lowercase().unique().head(3).to_list()
    found = set(lower)
    if len(found) > 2:
        return None
    for pair in (*TRUE_FALSE, *OTHER_TRUE_FALSE):
        if found <= set(pair) and (len(found) == 2 or pair in TRUE_FALSE[:2]):
            return pair if pair != ("1", "0") or ASKS & set(name.words) else None
    return None


def _clock(texts: pl.Series) -> str | None:
    """The format of times of day, where all are such."""
    for pattern, form in CLOCKS:
        if texts.str.contains(pattern).all():
            return form
    return None


def _moment_of_texts(texts: pl.Series, places: pl.Series, name: Name, now: datetime) -> Moment | None:
    moment = find_moment(texts, places, now)
    digits = bool(texts.str.contains(r"^\d+(?:\.\d+)?$").sum() >= NEARLY_ALL * len(texts))
    if moment is not None and digits and not is_timely(name):
        return None
    if moment is None and digits and is_timely(name):
        return find_epoch(texts.cast(pl.Float64, strict=False), now)
    return moment if moment is not None and moment.share >= MOST * ENOUGH else None


def _are_phones(texts: pl.Series) -> bool:
    """Ten digits or so, with signs that phone numbers have."""
    digits = texts.str.count_matches(r"\d")
    signs = texts.str.contains(r"^\+|^\(|^0\d{2,}[ /-]|\d[ -]\d{3}[ -]\d{4}")
    return bool((digits.is_between(7, 15) & signs).sum() >= MOST * len(texts))


def _are_cards(texts: list[str]) -> bool:
    good = sum(_luhn([int(letter) for letter in text if letter.isdigit()]) for text in texts)
    return good >= MOST * len(texts)


def _luhn(digits: list[int]) -> bool:
    double = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return len(digits) >= 13 and (sum(digits[-1::-2]) + sum(double)) % 10 == 0


def _are_json(texts: list[str]) -> bool:
    return all(text[:1] in ("{", "[") and text[-1:] in ("}", "]") and _is_json(text) for text in texts)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _values(texts: pl.Series, distinct: int, *, again: bool = True) -> tuple[tuple[str, int], ...]:
    """The few values of a column that has few; `again`: only if they are seen again and again."""
    if not 0 < distinct <= FEW or (again and distinct * 2 > len(texts)):
        return ()
    counts = texts.value_counts(sort=True).rows()
    return tuple((str(value), int(count)) for value, count in sorted(counts, key=lambda one: (-one[1], str(one[0]))))


def harmless(text: str, length: int = SHOWN) -> bool:
    """Whether a value of a column that is not private may be shown: it is short, and no phone, card or address."""
    digits = sum(letter.isdigit() for letter in text)
    return 0 < len(text) <= length and text.isprintable() and "@" not in text and digits < 7


def _shown(texts: pl.Series) -> tuple[str, ...]:
    found = [text for text in texts.unique(maintain_order=True).head(20).to_list() if harmless(text)]
    return tuple(found[:2])


def _times_shown(texts: pl.Series, private: bool) -> tuple[str, ...]:
    """One time. It may not be one that only looks like it."""
    if private:
        return ()
    found = [text for text in texts.head(20).to_list() if len(text) <= 40 and text.isprintable() and "@" not in text]
    return tuple(found[:1])
