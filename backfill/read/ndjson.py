"""NDJSON → frames with the physical line of each row; a line that can't be read costs that line."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import polars as pl

from backfill.canonical import instance
from backfill.errors import ExportError
from backfill.read.files import ExportFile, open_bytes
from backfill.read.widen import EXACT_FLOAT, merge, no_nulls

__all__ = ["BadLine", "BatchRows", "ndjson_batches", "ndjson_schema"]

BLOCK_BYTES = 4_000_000
MAX_LINE_BYTES = 16_000_000
MAX_TEXT = 500
# A frame holds a cell for each row and each key of any row: where each row has keys of its own, few rows fill the
# memory. Before the keys are known, so many lines and bytes are looked at together; then as many as make MAX_CELLS.
SCHEMA_LINES = 1_000
SCHEMA_BYTES = 256_000
MAX_CELLS = 4_000_000
MAX_KEYS = 20_000
# Polars' time grows with the cube of the depth: 100 levels take it 0.1 s, 900 minutes.
MAX_DEPTH = 64
STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
# Polars reads a lone surrogate as NUL.
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
OPENING, CLOSING = np.frombuffer(b"[{", np.uint8), np.frombuffer(b"]}", np.uint8)

Schema = dict[str, pl.DataType]


@dataclass(frozen=True, slots=True, order=True)
class BadLine:
    """A line that can't be read: its number, why, with the beginning of its text, and all of its text."""

    number: int
    detail: str
    text: str


@dataclass(frozen=True, slots=True)
class BatchRows:
    """Some rows of a typed file: `rows` (UInt64) counts from 1; for NDJSON it is the physical line.

    `bad` are the lines that can't be read. `group` is where one can go on reading: the row group of an object's
    Parquet, and how many frames of it are before these.
    """

    frame: pl.DataFrame
    rows: pl.Series
    bad: list[BadLine]
    group: tuple[int, int] | None = None


def ndjson_schema(file: ExportFile) -> Schema:
    """Names and types over all lines that can be read. Raises ExportError for a file that is no NDJSON."""
    merged: Schema = {}
    for block, first in _blocks(file, SCHEMA_LINES, SCHEMA_BYTES):
        for frame in _readable(block, first, None).frames:
            merged = merge(merged, dict(frame.schema))
        if len(merged) > MAX_KEYS:
            raise ExportError(
                f"{file.name}:{first}: here or below is the key number {MAX_KEYS + 1:,} of this file",
                hint="a row's id is a value, not a key: export it so that all rows have the same keys",
            )
    return {name: no_nulls(dtype) for name, dtype in merged.items()}


def ndjson_batches(file: ExportFile, schema: Schema, skip: int = 0) -> Iterator[BatchRows]:
    """The rows in order, a batch for each block of lines but the first `skip`; `schema`: see `ndjson_schema`."""
    for block, first in islice(_blocks(file, max(1, MAX_CELLS // max(len(schema), 1))), skip, None):
        found = _readable(block, first, schema)
        frame = pl.concat(found.frames) if found.frames else pl.DataFrame(schema=schema)
        rows = pl.Series([number for number, _ in found.lines], dtype=pl.UInt64)
        yield _exact(BatchRows(frame, rows, sorted(found.bad)), dict(found.lines))


@dataclass(frozen=True, slots=True)
class _Readable:
    """The lines of a block that can be read, numbered and in frames; and those that can't."""

    frames: list[pl.DataFrame]
    lines: list[tuple[int, bytes]]
    bad: list[BadLine]


def _readable(block: bytes, first: int, schema: Schema | None) -> _Readable:
    lines = [(number, line) for number, line in enumerate(block.split(b"\n"), first) if line.strip()]
    # Asked for no columns, Polars takes anything for a row.
    doubtful = SURROGATE.search(block) or schema == {} or any(_deep(line) for _, line in lines)
    frame = None if doubtful else _parse(block, schema)
    if frame is not None and frame.height == len(lines):
        return _Readable([frame], lines, [])
    # Python's parser says what is wrong with a line, and Polars then has the last word on what is left.
    reasons = {number: _reason(line) for number, line in lines}
    bad = [_bad(number, line, f"not a JSON object: {reasons[number]}") for number, line in lines if reasons[number]]
    frames: list[pl.DataFrame] = []
    good: list[tuple[int, bytes]] = []
    at = 0
    objects = [line for line in lines if not reasons[line[0]]]
    for part, count in _frames([line for _, line in objects], schema):
        if part is None:
            number, line = objects[at]
            bad.append(_bad(number, line, "a JSON object that does not fit the other lines"))
        else:
            frames.append(part)
            good += objects[at : at + count]
        at += count
    return _Readable(frames, good, bad)


def _frames(lines: list[bytes], schema: Schema | None) -> Iterator[tuple[pl.DataFrame | None, int]]:
    """Frames that hold the lines in order, each with its number of lines; None for a line that can't be read.

    Halves what can't be read until the bad lines stand alone.
    """
    if not lines:
        return
    frame = _parse(b"\n".join(lines), schema)
    if frame is not None and frame.height == len(lines):
        yield frame, len(lines)
    elif len(lines) == 1:
        yield None, 1
    else:
        middle = len(lines) // 2
        yield from _frames(lines[:middle], schema)
        yield from _frames(lines[middle:], schema)


def _parse(block: bytes, schema: Schema | None) -> pl.DataFrame | None:
    try:
        return pl.read_ndjson(io.BytesIO(block), schema=schema, infer_schema_length=None)
    except (pl.exceptions.PanicException, pl.exceptions.PolarsError, ValueError):
        return None


def _exact(batch: BatchRows, texts: dict[int, bytes]) -> BatchRows:
    """The batch without the rows in which an integer became a double that is another number."""
    schema = batch.frame.schema
    # Under names of ours: Polars takes one such as "*" or "^a$" for a pattern.
    frame = batch.frame.clone()
    frame.columns = [str(i) for i in range(len(schema))]
    large = [found for name, dtype in frame.schema.items() if (found := _large(pl.col(name), dtype)) is not None]
    if not large:
        return batch
    doubtful = frame.select(pl.any_horizontal(large).alias("")).to_series()
    if not doubtful.any():
        return batch
    bad = list(batch.bad)
    keep = []
    for at, (number, look) in enumerate(zip(batch.rows.to_list(), doubtful.to_list(), strict=True)):
        lost = _rounded(json.loads(texts[number]), pl.Struct(schema)) if look else None
        if lost is not None:
            why = f'"{lost}" is an integer beyond 2^53, and has fractions in other lines'
            bad.append(_bad(number, texts[number], why))
        else:
            keep.append(at)
    return BatchRows(batch.frame[keep], batch.rows[keep], sorted(bad))


def _large(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Whether a value is, or holds, a double that could be a rounded integer; None where the type has no doubles."""
    if dtype == pl.Float64:
        return value.abs() >= EXACT_FLOAT
    if isinstance(dtype, pl.List):
        inner = _large(pl.element(), instance(dtype.inner))
        return None if inner is None else value.list.eval(inner).list.any()
    if isinstance(dtype, pl.Struct):
        fields = [_large(value.struct.field(field.name), instance(field.dtype)) for field in dtype.fields]
        found = [field for field in fields if field is not None]
        return pl.any_horizontal(found) if found else None
    return None


def _rounded(value: Any, dtype: pl.DataType, name: str = "") -> str | None:
    """The name of the integer in a line's value that a double can't hold where the type has one."""
    if dtype == pl.Float64:
        return name if isinstance(value, int) and not _is_double(value) else None
    inner: Iterable[tuple[Any, pl.DataType, str]] = ()
    if isinstance(dtype, pl.List) and isinstance(value, list):
        inner = ((one, instance(dtype.inner), name) for one in value)
    elif isinstance(dtype, pl.Struct) and isinstance(value, dict):
        inner = (
            (value.get(field.name), instance(field.dtype), f"{name}.{field.name}" if name else field.name)
            for field in dtype.fields
        )
    return next((found for one in inner if (found := _rounded(*one)) is not None), None)


def _is_double(value: int) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _bad(number: int, line: bytes, why: str) -> BadLine:
    text = line.decode("utf-8", "replace")
    return BadLine(number, f"{why}: {text[:MAX_TEXT]}", text)


def _reason(line: bytes) -> str:
    """Why this line is no JSON object that can be taken; empty when it can."""
    if _deep(line):
        return f"it is nested deeper than {MAX_DEPTH} levels"
    try:
        value = json.loads(line, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair"
    except (ValueError, RecursionError) as error:
        return str(error)
    return "" if isinstance(value, dict) else f"it is a {type(value).__name__}"


def _deep(line: bytes) -> bool:
    """Whether the line is nested deeper than MAX_DEPTH."""
    if line.count(b"{") + line.count(b"[") <= MAX_DEPTH:
        return False
    marks = np.frombuffer(STRING.sub(b"", line), np.uint8)
    steps = np.isin(marks, OPENING).astype(np.int64) - np.isin(marks, CLOSING)
    return int(steps.cumsum().max(initial=0)) > MAX_DEPTH


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _blocks(file: ExportFile, most: int, size: int = BLOCK_BYTES) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines, `most` of them or about `size` bytes, each with the physical line that it begins at."""
    rest, line = b"", 1
    try:
        with open_bytes(file) as source:
            while True:
                data = source.read(size)
                if line == 1 and not rest:
                    data = _checked_start(file, data)
                block = rest + data
                end = block.rfind(b"\n") + 1 if data else len(block)
                whole, rest = block[:end], block[end:]
                lines = whole.split(b"\n") if whole.strip() else []
                for at in range(0, len(lines), most):
                    yield b"\n".join(lines[at : at + most]), line + at
                line += whole.count(b"\n")
                if not data:
                    return
                if len(rest) > MAX_LINE_BYTES:
                    raise ExportError(
                        f"{file.name}:{line}: a line longer than {MAX_LINE_BYTES // 1_000_000} MB",
                        hint="NDJSON has an object a line; export it again so",
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise ExportError(f"{file.name}: can't be read: {error}", hint="fetch it again") from error


def _checked_start(file: ExportFile, data: bytes) -> bytes:
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ExportError(f"{file.name}: is UTF-16, and NDJSON is UTF-8", hint="iconv -f UTF-16 -t UTF-8")
    if data.lstrip()[:1] == b"[":
        raise ExportError(
            f"{file.name}: is one JSON array, not an object a line", hint="jq -c '.[]' makes NDJSON of it"
        )
    return data
