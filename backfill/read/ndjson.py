"""NDJSON → frames with the physical line of each row; a line that can't be read costs that line."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from backfill.errors import ExportError
from backfill.read.files import ExportFile, open_bytes
from backfill.read.widen import EXACT_FLOAT, merge, no_nulls

__all__ = ["BatchRows", "ndjson_batches", "ndjson_schema"]

BLOCK_BYTES = 4_000_000
MAX_LINE_BYTES = 16_000_000
MAX_TEXT = 500
# Polars reads a lone surrogate as NUL.
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

Schema = dict[str, pl.DataType]


@dataclass(frozen=True, slots=True)
class BatchRows:
    """Some rows of a typed file: `rows` (UInt64) counts from 1; for NDJSON it is the physical line.

    `bad` are the lines that can't be read, each with the reason and its text.
    """

    frame: pl.DataFrame
    rows: pl.Series
    bad: list[tuple[int, str]]


def ndjson_schema(file: ExportFile) -> Schema:
    """Names and types over all lines that can be read. Raises ExportError for a file that is no NDJSON."""
    merged: Schema = {}
    for block, first in _blocks(file):
        for frame in _readable(block, first, None).frames:
            merged = merge(merged, dict(frame.schema))
    return {name: no_nulls(dtype) for name, dtype in merged.items()}


def ndjson_batches(file: ExportFile, schema: Schema) -> Iterator[BatchRows]:
    """The rows in order, a batch for each block of lines; `schema` is what `ndjson_schema` gave."""
    for block, first in _blocks(file):
        found = _readable(block, first, schema)
        frame = pl.concat(found.frames) if found.frames else pl.DataFrame(schema=schema)
        rows = pl.Series([number for number, _ in found.lines], dtype=pl.UInt64)
        yield _exact(BatchRows(frame, rows, sorted(found.bad)), dict(found.lines))


@dataclass(frozen=True, slots=True)
class _Readable:
    """The lines of a block that can be read, numbered and in frames; and those that can't, with the
    reason.
    """

    frames: list[pl.DataFrame]
    lines: list[tuple[int, bytes]]
    bad: list[tuple[int, str]]


def _readable(block: bytes, first: int, schema: Schema | None) -> _Readable:
    lines = [(number, line) for number, line in enumerate(block.split(b"\n"), first) if line.strip()]
    frame = None if SURROGATE.search(block) else _parse(block, schema)
    if frame is not None and frame.height == len(lines):
        return _Readable([frame], lines, [])
    # Python's parser says what is wrong with a line, and Polars then has the last word on what is left.
    reasons = {number: _reason(line) for number, line in lines}
    bad = [(number, f"not a JSON object: {reason}") for number, reason in reasons.items() if reason]
    frames: list[pl.DataFrame] = []
    good: list[tuple[int, bytes]] = []
    at = 0
    doubtful = [line for line in lines if not reasons[line[0]]]
    for part, count in _frames([line for _, line in doubtful], schema):
        if part is None:
            number, line = doubtful[at]
            shown = line.decode("utf-8", "replace")[:MAX_TEXT]
            bad.append((number, f"a JSON object that does not fit the other lines: {shown}"))
        else:
            frames.append(part)
            good += doubtful[at : at + count]
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
    floats = [name for name, dtype in batch.frame.schema.items() if dtype == pl.Float64]
    if not floats:
        return batch
    large = batch.frame.select(pl.any_horizontal(pl.col(floats).abs() >= EXACT_FLOAT).alias("")).to_series()
    if not large.any():
        return batch
    bad = list(batch.bad)
    keep = []
    for at, (number, doubtful) in enumerate(zip(batch.rows.to_list(), large.to_list(), strict=True)):
        value = json.loads(texts[number]) if doubtful else {}
        lost = [name for name in floats if isinstance(value.get(name), int) and float(value[name]) != value[name]]
        if lost:
            shown = texts[number].decode("utf-8", "replace")[:MAX_TEXT]
            bad.append((number, f'"{lost[0]}" is an integer beyond 2^53, and has fractions in other lines: {shown}'))
        else:
            keep.append(at)
    return BatchRows(batch.frame[keep], batch.rows[keep], sorted(bad))


def _reason(line: bytes) -> str:
    """Why this line is no JSON object that can be taken, with its text; empty when it can."""
    shown = line.decode("utf-8", "replace")[:MAX_TEXT]
    try:
        value = json.loads(line, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return f"it holds half of a surrogate pair: {shown}"
    except (ValueError, RecursionError) as error:
        return f"{error}: {shown}"
    return "" if isinstance(value, dict) else f"it is a {type(value).__name__}: {shown}"


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _blocks(file: ExportFile) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines, each with the physical line that it begins at."""
    rest, line = b"", 1
    try:
        with open_bytes(file) as source:
            while True:
                data = source.read(BLOCK_BYTES)
                if line == 1 and not rest:
                    data = _checked_start(file, data)
                block = rest + data
                end = block.rfind(b"\n") + 1 if data else len(block)
                whole, rest = block[:end], block[end:]
                if whole.strip():
                    yield whole, line
                line += whole.count(b"\n")
                if not data:
                    return
                if len(rest) > MAX_LINE_BYTES:
                    raise ExportError(f"{file.name}:{line}: a line longer than {MAX_LINE_BYTES // 1_000_000} MB")
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
