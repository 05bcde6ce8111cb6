"""One value of a mapping → its expression, its JSON, and the checks on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import polars as pl

from backfill.errors import MappingProblem
from backfill.mapping import Mapping, Path, Value, parse_template, suggest
from backfill.shape.columns import Columns
from backfill.shape.convert import Numerals, Target, convert, parse_number, too_large
from backfill.shape.joined import Object, Scalar, columns_of, joined
from backfill.shape.layers import Layers
from backfill.shape.sql import NUMBER_PREFIX, SqlError, read_sql, type_of
from backfill.shape.texts import Fault, as_text, flat, json_scalar, key_text, needs_no_escape, textless
from backfill.shape.times import Zone

__all__ = ["Branch", "Check", "Leaf", "Leaves"]

# Up to so many entries of a map are faster compared one by one (7 ns each) than looked up (40 to 60 ns).
FEW = 4
LATEST = datetime.max.replace(tzinfo=UTC)

Severity = Literal["reject", "omit", "notice"]


@dataclass(frozen=True, slots=True)
class Check:
    """Something that can be wrong with a row.

    `bad` is the column that says for which rows it is, `shown` the offending value as text. A `reject` stops
    the event, an `omit` leaves a key out and is counted, a `notice` is counted only. `maybe` holds wherever
    `bad` does and costs less: only for a chunk in which it holds somewhere is `bad` computed.
    """

    code: str
    field: str
    bad: pl.Expr
    shown: pl.Expr
    column: str
    severity: Severity = "reject"
    maybe: pl.Expr | None = None

    @property
    def suspected(self) -> pl.Expr:
        """Whether the check has to be made at all: one Boolean for a chunk."""
        return (self.bad if self.maybe is None else self.maybe).any()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A compiled value: `value` of `dtype`, null where there is none.

    `is_json` marks a text that is JSON already, `plain` one that has nothing to escape in JSON.
    """

    value: pl.Expr
    dtype: pl.DataType
    layers: Layers
    is_json: bool = False
    plain: bool = False

    @property
    def given(self) -> pl.Expr:
        """Whether there is a value."""
        return self.value.is_not_null()

    @property
    def member(self) -> Scalar:
        """What makes its JSON."""
        value = self.layers.let(self.value)
        if self.is_json:
            return Scalar(value.meta.root_names()[0], (value,))
        return json_scalar(value, self.dtype, self.layers, plain=self.plain)

    def json(self, before: str = "") -> pl.Expr:
        """The JSON text with `before` in front of it; null where there is no value."""
        member = self.member
        return pl.concat_str([pl.lit(before + member.before), *member.values, pl.lit(member.after)])


@dataclass(frozen=True, slots=True)
class Branch:
    """A compiled object of members, (key, member) each; there is none where no member has a value."""

    members: Sequence[tuple[str, Leaf | Branch]]
    layers: Layers

    @property
    def given(self) -> pl.Expr:
        """Whether a member has a value."""
        return pl.any_horizontal(inner.given for _, inner in self.members) if self.members else pl.lit(value=False)

    @property
    def member(self) -> Object:
        """What makes its JSON."""
        return Object([(key_text(key), inner.member) for key, inner in self.members])

    def json(self) -> pl.Expr:
        """The JSON text; null where there is no member."""
        member = self.member
        text = self.layers.late(columns_of(member), lambda frame: joined(frame, [("", member)]))
        return pl.when(text != "").then(text.str.strip_prefix(","))


@dataclass
class Leaves:
    """Compiles values against the export's columns; gathers layers, checks, and problems with the mapping
    itself.

    `aggregated` holds, under group_by, what stands for an aggregate's SQL or a collect at a path; later than `latest`
    no event can be.
    """

    mapping: Mapping
    columns: Columns
    layers: Layers = field(default_factory=Layers)
    checks: list[Check] = field(default_factory=list)
    problems: list[MappingProblem] = field(default_factory=list)
    aggregated: dict[Path, str] = field(default_factory=dict)
    latest: datetime = LATEST
    _numbers: dict[str, pl.Expr] = field(default_factory=dict)

    def leaf(self, path: Path, value: Value, target: Target) -> Leaf:
        """Compile one value for a field. A problem with the mapping gives a leaf that is always null."""
        first = len(self.checks)
        raw, dtype, column = self._raw(path, value, wants_number=target.kind in ("number", "integer"))
        shown = as_text(raw, dtype)
        target = self._options(value, target)
        plain = value.map is not None or _takes_blanks(target, dtype)
        missing, unmapped = self.layers.let(_missing(raw, dtype, plain=plain)), None
        if value.map is not None:
            raw, dtype, unmapped = self._map(value, raw, dtype)
        if not flat(dtype) and value.type == "string":
            raw, dtype = self._nested_text(path, raw, dtype, column)
        if not flat(dtype) and target.kind == "own" and not target.nested:
            where = "customer.customFields" if path[2] == "customer" else "data"
            message = f"a column of type {dtype} can't be under {where}: the API takes no lists or objects there"
            self.problem(path, message, "put it under data.$extra, or give type: string")
            return self._nothing()
        done = convert(raw, dtype, target, self.layers)
        if isinstance(done, str):
            self.problem(path, done, "give another column, or convert it with sql:")
            return self._nothing()
        severity: Severity = "omit" if self._omits(value, target) else "reject"
        flags = [(self._fault(path, fault, shown, column, severity), fault) for fault in done.problems]
        bad = [flag for flag, fault in flags if not fault.no_value]
        result = self.layers.let(done.value)
        if bad and severity == "omit":
            # Some conversions notice what is wrong beside their value; a wrong value is no value.
            result = self.layers.let(pl.when(~pl.any_horizontal(bad)).then(result))
        leaf = Leaf(result, done.dtype, self.layers, done.json, done.plain or _plain(value))
        if unmapped is not None and value.otherwise is not None:
            leaf = self._instead((*path, "otherwise"), value.otherwise, target, leaf, unmapped.bad)
        elif unmapped is not None:
            self._fault(path, unmapped, shown, column, severity)
        if value.default is not None:
            leaf = self._instead((*path, "default"), value.default, target, leaf, missing)
        if value.required:
            empty = (leaf.value == "").fill_null(value=True) if leaf.dtype == pl.String else leaf.value.is_null()
            fault = Fault("missing", empty)
            rejected = [check.bad for check in self.checks[first:] if check.severity == "reject"]
            if rejected:
                fault = Fault("missing", empty & ~pl.any_horizontal(rejected), empty)
            self._fault(path, fault, shown, column, "reject")
        return leaf

    def problem(self, path: Path, message: str, hint: str = "") -> None:
        line, column = self.mapping.position(path)
        self.problems.append(MappingProblem(line, column, message, hint))

    def check(
        self,
        code: str,
        name: str,
        bad: pl.Expr,
        shown: pl.Expr,
        severity: Severity = "reject",
        maybe: pl.Expr | None = None,
    ) -> None:
        """A check that is not a single value's."""
        flag = self.layers.let(bad.fill_null(value=False))
        self.checks.append(Check(code, name, flag, shown, "", severity, bad if maybe is None else maybe))

    def number_column(self, path: Path, name: str) -> pl.Expr:
        """The text column `name` as numbers, for SQL, under NUMBER_PREFIX; a text that is none is a check.

        It is null where the number has other digits than the text.
        """
        text, _ = self._column(path, name)
        large = too_large(text, self._numerals())
        number = parse_number(text, self._numerals())
        self._numbers.setdefault(name, pl.when(~large).then(number).alias(NUMBER_PREFIX + name))
        wrong = text.is_not_null() & (text.str.strip_chars() != "") & number.is_null()
        self._fault(path, Fault("integer_too_large", large), text, name, "reject")
        self._fault(path, Fault("not_a_number", wrong), text, name, "reject")
        return pl.col(NUMBER_PREFIX + name)

    def numbers(self) -> list[pl.Expr]:
        """The NUMBER_PREFIX columns that SQL needs, to be added to a frame before all else."""
        return list(self._numbers.values())

    def text(self, path: Path, template: str) -> tuple[pl.Expr, str]:
        """A template's text, null when any of its columns is null or empty; and the columns' names."""
        parsed = parse_template(template)
        parts: list[pl.Expr] = []
        for part in parsed.parts:
            if isinstance(part, str):
                parts.append(pl.lit(part))
                continue
            raw, dtype = self._column(path, part.name)
            text = as_text(raw, dtype)
            parts.append(pl.when(text != "").then(text))
            self.writable(path, raw, dtype, part.name)
        return pl.concat_str(parts), ", ".join(parsed.columns)

    def writable(self, path: Path, raw: pl.Expr, dtype: pl.DataType, column: str) -> None:
        """Check that a value can be written as text: NaN, alone or in a list or struct, has none."""
        shown = raw.cast(pl.String) if dtype.is_float() else as_text(raw, dtype)
        for fault in textless(raw, dtype):
            self._fault(path, fault, shown, column, "reject")

    def _nested_text(self, path: Path, raw: pl.Expr, dtype: pl.DataType, column: str) -> tuple[pl.Expr, pl.DataType]:
        self.writable(path, raw, dtype, column)
        return self.layers.let(as_text(raw, dtype)), pl.String()

    def _raw(self, path: Path, value: Value, *, wants_number: bool) -> tuple[pl.Expr, pl.DataType, str]:
        if path in self.aggregated:
            name = self.aggregated[path]
            return pl.col(name), self.columns.schema[name], ""
        if value.column is not None:
            raw, dtype = self._column(path, value.column)
            return raw, dtype, value.column
        if value.template is not None:
            text, names = self.text(path, value.template)
            return self.layers.let(text), pl.String(), names
        if value.sql is not None:
            wants_number = (wants_number or value.type in ("number", "integer")) and value.map is None
            return self._sql(path, value.sql, wants_number=wants_number)
        const = pl.lit(value.const)
        # A column of its own: a Python function over a literal would give one value, whatever the number of rows.
        return self.layers.let(const), pl.select(const).dtypes[0], ""

    def _sql(self, path: Path, text: str, *, wants_number: bool) -> tuple[pl.Expr, pl.DataType, str]:
        sql = read_sql(text, self.columns, wants_number=wants_number)
        try:
            dtype = type_of(sql, self.columns)
        except SqlError as error:
            self.problem((*path, "sql"), f"this SQL does not fit the columns: {error}", "CAST a text column first")
            return pl.lit(None, dtype=pl.String), pl.String(), ""
        for name in sql.numbers:
            self.number_column(path, name)
        return self.layers.let(sql.expression()), dtype, ""

    def _column(self, path: Path, name: str) -> tuple[pl.Expr, pl.DataType]:
        found = self.columns.find(name)
        if found is None:
            self.problem(path, f'no column "{name}"', suggest(name, list(self.columns.schema)))
            return pl.lit(None, dtype=pl.String), pl.String()
        return found

    def _options(self, value: Value, target: Target) -> Target:
        # A field that the API types may only be narrowed: value to an integer.
        narrowed = target.kind == "own" or (target.kind, value.type) == ("number", "integer")
        kind = value.type if value.type and narrowed else target.kind
        zone = Zone(value.timezone or self.mapping.source.timezone, self.mapping.source.ambiguous)
        region = value.region or target.region
        return replace(target, kind=kind, format=value.format, zone=zone, region=region, numerals=self._numerals())

    def _numerals(self) -> Numerals:
        numbers = self.mapping.source.numbers
        return Numerals(numbers.decimal, numbers.thousands)

    def _map(self, value: Value, raw: pl.Expr, dtype: pl.DataType) -> tuple[pl.Expr, pl.DataType, Fault]:
        """The mapped value, its type, and where a value is in no map."""
        text = as_text(raw, dtype)
        pairs = value.map or {}
        old, new = list(pairs), list(pairs.values())
        if any(isinstance(item, float) for item in new):
            new = [float(item) for item in new]
        values = pl.Series(new)
        mapped = text.replace_strict(old, values, default=None, return_dtype=values.dtype)
        if 0 < len(old) <= FEW:
            cases = zip(old, (pl.lit(value, dtype=values.dtype) for value in values), strict=True)
            mapped = pl.coalesce(pl.when(text == one).then(value) for one, value in cases)
        mapped = self.layers.let(mapped)
        unmapped = self.layers.let((text.is_not_null() & (text != "") & ~text.is_in(old)).fill_null(False))
        return mapped, values.dtype, Fault("not_in_map", unmapped, text.is_not_null() & mapped.is_null())

    def _instead(self, path: Path, value: Value, target: Target, leaf: Leaf, where: pl.Expr) -> Leaf:
        """`leaf`, but another value where `where` holds; that value's checks count only there."""
        first = len(self.checks)
        kind = "own" if target.kind == "json" else target.kind
        other = self.leaf(path, value, replace(target, kind=kind, format=None))
        self.checks[first:] = [replace(check, bad=self.layers.let(check.bad & where)) for check in self.checks[first:]]
        if leaf.dtype == other.dtype and leaf.is_json == other.is_json:
            either = self.layers.let(pl.when(where).then(other.value).otherwise(leaf.value))
            return replace(leaf, value=either, plain=leaf.plain and other.plain)
        # A number instead of a text, or either instead of nested JSON: each stays what it is.
        either = self.layers.let(pl.when(where).then(other.json()).otherwise(leaf.json()))
        return Leaf(either, pl.String(), self.layers, is_json=True)

    def _nothing(self) -> Leaf:
        return Leaf(self.layers.let(pl.lit(None, dtype=pl.String)), pl.String(), self.layers)

    def _omits(self, value: Value, target: Target) -> bool:
        return (value.on_invalid or ("omit" if target.kind in ("email", "phone") else "reject")) == "omit"

    def _fault(self, path: Path, fault: Fault, shown: pl.Expr, column: str, severity: Severity) -> pl.Expr:
        flag = self.layers.let(fault.bad.fill_null(value=False))
        maybe = fault.bad if fault.maybe is None else fault.maybe
        self.checks.append(Check(fault.code, label(path), flag, shown, column, severity, maybe))
        return flag


def _plain(value: Value) -> bool:
    """Whether all that the value can be is known, and has nothing to escape in JSON."""
    texts = [value.const] if value.map is None else value.map.values()
    return all(isinstance(text, str) and needs_no_escape(text) for text in texts)


def _is_text(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Binary)


def _takes_blanks(target: Target, dtype: pl.DataType) -> bool:
    """Whether any text is a value of the target as it is, a blank too."""
    return target.kind == "string" or (target.kind == "own" and _is_text(dtype))


def _missing(raw: pl.Expr, dtype: pl.DataType, *, plain: bool) -> pl.Expr:
    """Where there is no value: null, the empty text and, unless the target is `plain` text, blanks."""
    if not _is_text(dtype):
        return raw.is_null()
    text = as_text(raw, dtype)
    return ((text if plain else text.str.strip_chars()) == "").fill_null(value=True)


def label(path: Sequence[str | int]) -> str:
    """How messages call a field: `customer.email`, `data.Item Count`."""
    return ".".join(str(part) for part in path[2:] if part not in ("default", "otherwise")) or "where"
