"""Files that carry types: Parquet, Arrow, NDJSON and Excel → frames with the row number of each row."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import polars as pl

from backfill.errors import ExportError, SettingsError
from backfill.read.files import ExportFile, open_bytes

__all__ = ["BatchRows", "read_batches", "schema_of"]

T = TypeVar("T")

BATCH_ROWS = 20_000
BLOCK_BYTES = 4_000_000
MAX_LINE_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class BatchRows:
    """Some rows of a typed file: `rows` (UInt64) counts from 1; for NDJSON it is the physical line."""

    frame: pl.DataFrame
    rows: pl.Series
    bad: list[tuple[int, str]]


def schema_of(file: ExportFile) -> dict[str, pl.DataType]:
    """Column names and types. Reads the footer, or for NDJSON, which has none, the whole file."""
    if file.format == "parquet":
        schema = _guard(file, lambda: _scan_parquet(file).collect_schema())
    elif file.format == "arrow":
        schema = _guard(file, lambda: pl.DataFrame(_arrow(file).schema.empty_table()).schema)
    elif file.format == "excel":
        schema = _guard(file, lambda: _excel(file).schema)
    else:
        return _with_hive(file, _ndjson_schema(file))
    return _with_hive(file, dict(schema))


def read_batches(file: ExportFile, schema: dict[str, pl.DataType]) -> Iterator[BatchRows]:
    """The rows of the file in order, in frames of about BATCH_ROWS; `schema` is what `schema_of` gave."""
    if file.format == "ndjson":
        yield from _ndjson(file, schema)
        return
    at = 1
    for frame in _frames(file):
        if file.format == "excel" and at == 1:
            at = 2  # the header is the sheet's row 1
        rows = pl.int_range(at, at + frame.height, dtype=pl.UInt64, eager=True)
        at += frame.height
        yield BatchRows(frame.with_columns(pl.lit(value).alias(key) for key, value in file.hive), rows, [])


def _frames(file: ExportFile) -> Iterator[pl.DataFrame]:
    iterator: Iterator[pl.DataFrame]
    if file.format == "parquet":
        iterator = iter(
            _guard(file, lambda: _scan_parquet(file).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True))
        )
    elif file.format == "arrow":
        iterator = (pl.DataFrame(batch) for batch in _arrow(file))
    else:
        iterator = _guard(file, lambda: _excel(file)).iter_slices(BATCH_ROWS)
    while True:
        frame = _guard(file, lambda: next(iterator, None))
        if frame is None:
            return
        yield from frame.iter_slices(BATCH_ROWS)


def _scan_parquet(file: ExportFile) -> pl.LazyFrame:
    uri = file.uri.replace("az://", "abfs://", 1) if file.uri.startswith("az://") else file.uri
    return pl.scan_parquet(uri, hive_partitioning=False, glob=False)


def _arrow(file: ExportFile):  # type: ignore[no-untyped-def]  # pyarrow has no types
    """A reader of record batches: the file format has its schema at the end, the stream format at the start."""
    from pyarrow import ArrowInvalid, ipc

    source = open_bytes(file)
    try:
        reader = ipc.open_file(source)
    except ArrowInvalid:
        source.seek(0)
        return ipc.open_stream(source)
    return _FileBatches(reader)


class _FileBatches:
    def __init__(self, reader) -> None:  # type: ignore[no-untyped-def]  # pyarrow has no types
        self.schema = reader.schema
        self._batches = (reader.get_batch(i) for i in range(reader.num_record_batches))

    def __iter__(self):  # type: ignore[no-untyped-def]  # pyarrow has no types
        return self._batches


def _excel(file: ExportFile) -> pl.DataFrame:
    try:
        import fastexcel  # noqa: F401 (asked for here, to say how to get it)
    except ImportError as error:
        raise SettingsError(
            f"{file.name}: reading Excel needs one more package", hint="pip install 'backfill[excel]'"
        ) from error
    with open_bytes(file) as source:
        return pl.read_excel(io.BytesIO(source.read()))


def _guard(file: ExportFile, work: Callable[[], T]) -> T:
    """A reader's error is the file's: name it. Polars' panics are no Exception, so that they are caught by name."""
    try:
        return work()
    except (ExportError, SettingsError):
        raise
    except pl.exceptions.PanicException as error:
        raise _unreadable(file, error) from error
    except Exception as error:
        raise _unreadable(file, error) from error


def _unreadable(file: ExportFile, error: BaseException) -> ExportError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return ExportError(f"{file.name}: is not a {file.format} file that can be read: {reason}", hint="export it again")


# NDJSON


def _ndjson_schema(file: ExportFile) -> dict[str, pl.DataType]:
    merged: dict[str, pl.DataType] = {}
    for block, _, _ in _lines(file):
        schema = _parse(block, None)
        for line in () if schema is not None else block.splitlines():
            parsed = _parse(line, None)
            merged = merge(merged, dict(parsed.schema)) if parsed is not None else merged
        if schema is not None:
            merged = merge(merged, dict(schema.schema))
    return {name: _no_null(dtype) for name, dtype in merged.items()}


def _ndjson(file: ExportFile, schema: dict[str, pl.DataType]) -> Iterator[BatchRows]:
    own = {name: dtype for name, dtype in schema.items() if name not in dict(file.hive)}
    for block, first, count in _lines(file):
        bad: list[tuple[int, str]] = []
        lines = [first + i for i, line in enumerate(block.split(b"\n")[:count]) if line.strip()]
        frame = _parse(block, own)
        if frame is None or frame.height != len(lines):
            frame, lines, bad = _line_by_line(block, first, own)
        rows = pl.Series(lines, dtype=pl.UInt64)
        yield BatchRows(frame.with_columns(pl.lit(value).alias(key) for key, value in file.hive), rows, bad)


def _line_by_line(
    block: bytes, first: int, schema: dict[str, pl.DataType]
) -> tuple[pl.DataFrame, list[int], list[tuple[int, str]]]:
    """Read a block that has a line in it that can't be read: the others, their lines, and which can't be and why."""
    good: list[bytes] = []
    lines: list[int] = []
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(block.split(b"\n"), first):
        if not line.strip():
            continue
        reason = _not_an_object(line)
        if not reason and _parse(line, schema) is None:
            reason = "Polars can't read it"
        if reason:
            shown = line.decode("utf-8", "replace")
            bad.append((number, f"not a JSON object: {reason}: {shown[:500]}"))
        else:
            good.append(line)
            lines.append(number)
    frame = _parse(b"\n".join(good), schema) if good else pl.DataFrame(schema=schema)
    if frame is None or frame.height != len(good):
        frames = [parsed for line in good if (parsed := _parse(line, schema)) is not None]
        frame = pl.concat(frames)
    return frame, lines, bad


def _not_an_object(line: bytes) -> str:
    try:
        value = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return str(error)
    return "" if isinstance(value, dict) else f"it is a {type(value).__name__}"


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parse(block: bytes, schema: dict[str, pl.DataType] | None) -> pl.DataFrame | None:
    try:
        return pl.read_ndjson(io.BytesIO(block), schema=schema, infer_schema_length=None)
    except pl.exceptions.PanicException:
        return None
    except Exception:
        return None


def _lines(file: ExportFile) -> Iterator[tuple[bytes, int, int]]:
    """Blocks of whole lines, each with the physical line that it begins at and its number of lines."""
    with open_bytes(file) as source:
        rest, line = b"", 1
        while True:
            data = _guard(file, lambda: _read(source))
            block = rest + data
            end = block.rfind(b"\n") + 1 if data else len(block)
            if end:
                whole, rest = block[:end], block[end:]
                count = whole.count(b"\n") + (not whole.endswith(b"\n"))
                if line == 1:
                    whole = whole.removeprefix(b"\xef\xbb\xbf")
                if whole.strip():
                    yield whole, line, count
                line += count
            else:
                rest = block
            if not data:
                return
            if len(rest) > MAX_LINE_BYTES:
                raise ExportError(f"{file.name}:{line}: a line longer than {MAX_LINE_BYTES // 1_000_000} MB")


def _read(source: BinaryIO) -> bytes:
    return source.read(BLOCK_BYTES)


def merge(left: dict[str, pl.DataType], right: dict[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The columns of both, each with a type that holds what either has."""
    merged = dict(left)
    for name, dtype in right.items():
        merged[name] = _wider(merged[name], dtype) if name in merged else dtype
    return merged


def _wider(left: pl.DataType, right: pl.DataType) -> pl.DataType:
    if left == right or right == pl.Null:
        return left
    if left == pl.Null:
        return right
    if isinstance(left, pl.Struct) and isinstance(right, pl.Struct):
        fields = merge({f.name: _dtype(f.dtype) for f in left.fields}, {f.name: _dtype(f.dtype) for f in right.fields})
        return pl.Struct(fields)
    if isinstance(left, pl.List) and isinstance(right, pl.List):
        return pl.List(_wider(_dtype(left.inner), _dtype(right.inner)))
    if left.is_integer() and right.is_integer():
        return pl.Int64()
    if left.is_numeric() and right.is_numeric():
        return pl.Float64()
    if isinstance(left, pl.Datetime | pl.Date) and isinstance(right, pl.Datetime | pl.Date):
        zones = {d.time_zone if isinstance(d, pl.Datetime) else None for d in (left, right)}
        return pl.Datetime("us", zones.pop()) if len(zones) == 1 else pl.String()
    return pl.String()


def _no_null(dtype: pl.DataType) -> pl.DataType:
    """JSON's nulls alone have no type; text holds them as well as any."""
    if dtype == pl.Null:
        return pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(_no_null(_dtype(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _no_null(_dtype(field.dtype)) for field in dtype.fields})
    return dtype


def _dtype(dtype: object) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()  # type: ignore[operator, no-any-return]  # a type class


def _with_hive(file: ExportFile, schema: dict[str, pl.DataType]) -> dict[str, pl.DataType]:
    return {**schema, **{key: pl.String() for key, _ in file.hive}}
