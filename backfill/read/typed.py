"""Files that carry types: Parquet, Arrow and Excel → frames with the row number of each row.

pyarrow reads Parquet and Arrow, not Polars: of the corrupt files that Polars 2.1 reads as empty, or dies of,
it says what is wrong, it needs no whole row group in memory, and a file that is cut while it is read is an
error, not a SIGBUS.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, TypeVar, cast

import polars as pl

from backfill.errors import ExportError, SettingsError
from backfill.objectstore import fault
from backfill.read.fetched import BATCH_BYTES, DECODED_ROWS, decoded_rows, fetched, footer
from backfill.read.files import ExportFile, open_bytes, unreadable
from backfill.read.ndjson import BatchRows, ndjson_batches, ndjson_schema

__all__ = ["Older", "group_frames", "group_starts", "read_batches", "row_groups", "schema_of"]

T = TypeVar("T")

# A frame has as many rows as this, or bytes: rows of long texts would fill the memory.
BATCH_ROWS = 20_000
DECIMAL_DIGITS = 38
# Pages of a file that is larger than a few blocks are read through a buffer, so that a row group of gigabytes needs no
# more memory than a small one. Others are not: Arrow makes the buffer as large as a page says that it is, be it a lie.
BUFFER_BYTES = 1_000_000
BUFFERED_FROM = 64_000_000
# Excel's files are read whole; this is beyond what a spreadsheet program opens.
EXCEL_BYTES = 200_000_000
FIXED_OFFSET = re.compile(r"[+-]\d\d:?\d\d")


def schema_of(file: ExportFile) -> dict[str, pl.DataType]:
    """Column names and types. Reads the footer, or for NDJSON, which has none, the whole file.

    Raises ExportError for a file that can't be read.
    """
    if file.format == "ndjson":
        schema = ndjson_schema(file)
    elif file.format == "excel":
        schema = dict(_guard(file, lambda: _excel(file).schema))
    else:
        schema = _guard(file, lambda: _arrow_schema(file))
    return {**schema, **{key: pl.String() for key, _ in file.hive}}


@dataclass(frozen=True)
class Older:
    """What of Parquet files need not be read: the row groups of which `all_old`, given a frame of their greatest values
    in `column`, says so. How many those are of a file (by position) is noted in `skipped` when it is read.
    """

    column: str
    all_old: Callable[[pl.DataFrame], list[bool]]
    skipped: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Part:
    """A file from a row (counted from 1) on: all of it, or some row groups of it that stand together."""

    start: int
    groups: list[int] | None = None


def read_batches(
    file: ExportFile,
    schema: dict[str, pl.DataType],
    skip: int = 0,
    older: Older | None = None,
    wanted: Collection[str] | None = None,
    group: tuple[int, int] | None = None,
    groups: Sequence[int] | None = None,
) -> Iterator[BatchRows]:
    """The rows of the file in order, in frames of about BATCH_ROWS, without the first `skip` frames; `schema` is what
    `schema_of` gave. What is all `older` is passed over. Of an object's Parquet only the columns `wanted` are fetched
    (None: all), and what is before the `group` that an earlier reading gave is not. `groups`: those row groups of a
    Parquet file alone.

    Raises ExportError for a file that can't be read on.
    """
    if file.format == "ndjson":
        own = {name: dtype for name, dtype in schema.items() if name not in dict(file.hive)}
        batches = ndjson_batches(file, own, skip)
    else:
        batches = _numbered(file, older, wanted, group, groups)
        batches = batches if group else islice(batches, skip, None)
    for batch in batches:
        hive = [pl.lit(value, dtype=pl.String).alias(key) for key, value in file.hive]
        yield BatchRows(batch.frame.with_columns(hive), batch.rows, batch.bad, batch.group)


def _numbered(
    file: ExportFile,
    older: Older | None,
    wanted: Collection[str] | None,
    group: tuple[int, int] | None,
    groups: Sequence[int] | None,
) -> Iterator[BatchRows]:
    # Excel's first row is the header.
    parts = [_Part(2 if file.format == "excel" else 1)]
    if file.format == "parquet" and (older is not None or groups is not None or file.stored):
        parts = _guard(file, lambda: list(_newer(file, older, groups)))
    for part in parts:
        first = part.groups[0] if part.groups else 0
        if group and first < group[0]:
            continue
        at = part.start
        for number, frame in enumerate(_frames(file, part, wanted)):
            rows = pl.int_range(at, at + frame.height, dtype=pl.UInt64, eager=True)
            at += frame.height
            if not group or (first, number) >= group:
                yield BatchRows(frame, rows, [], (first, number) if file.stored else None)


def row_groups(file: ExportFile) -> list[int]:
    """The bytes of each row group of a Parquet file, before compression. Raises ExportError."""

    def sizes() -> list[int]:
        with _reader(file) as reader:
            return [reader.metadata.row_group(at).total_byte_size for at in range(reader.metadata.num_row_groups)]

    return _guard(file, sizes)


def _newer(file: ExportFile, older: Older | None, mine: Sequence[int] | None) -> Iterator[_Part]:
    """The parts of a Parquet file that are in `mine` and hold more than older rows, as far as its footer tells; of an
    object each row group is one, which is fetched whole if it is small.
    """
    with _reader(file) as reader:
        metadata = reader.metadata
        groups = range(metadata.num_row_groups)
        asked = groups if mine is None else [at for at in groups if at in mine]
        old = dict.fromkeys(groups, True) | dict.fromkeys(asked, False)
        if older is not None:
            old.update(_old(reader, asked, older))
            older.skipped[file.position] = sum(old[at] for at in asked)
        start = 1
        for skipped, run in groupby(groups, old.__getitem__):
            run_groups = list(run)
            for numbers in ([at] for at in run_groups) if file.stored else [run_groups]:
                if not skipped:
                    yield _Part(start, numbers)
                start += sum(metadata.row_group(at).num_rows for at in numbers)


def _old(reader: Any, groups: Sequence[int], older: Older) -> dict[int, bool]:
    """Which row groups hold only older rows, of those whose greatest value is known."""
    greatest = {at: value for at in groups if (value := _greatest(reader, at, older.column)) is not None}
    if not greatest:
        return {}
    kind = reader.schema_arrow.field(older.column).type
    frame = _known_frame(older.column, list(greatest.values()), kind)
    return dict(zip(greatest, older.all_old(frame), strict=True))


def _greatest(reader: Any, group: int, column: str) -> Any:
    """The greatest value of a column in a row group; None where that is not known, or where rows have none."""
    import pyarrow as pa

    schema, names = reader.schema_arrow, reader.metadata.schema
    at = [i for i in range(reader.metadata.num_columns) if names.column(i).path == column]
    if len(at) != 1 or column not in schema.names:
        return None
    kind = schema.field(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        # Of texts the greatest is not the latest.
        return None
    statistics = reader.metadata.row_group(group).column(at[0]).statistics
    if statistics is None or not statistics.has_min_max or not statistics.has_null_count or statistics.null_count:
        return None
    if "nanoseconds" in names.column(at[0]).logical_type.to_json():
        # Of these Python's own times hold no more than microseconds: pyarrow gives none without pandas.
        return statistics.max_raw if getattr(kind, "unit", "") == "ns" else None
    try:
        return statistics.max
    except (ValueError, OverflowError):  # a time that Python can't tell
        return None


def _known_frame(column: str, values: list[Any], kind: Any) -> pl.DataFrame:
    import pyarrow as pa

    return pl.DataFrame(_plain(pa.table([pa.array(values, kind)], names=[column])))


def _frames(file: ExportFile, part: _Part, wanted: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
    if file.format == "excel":
        yield from _guard(file, lambda: _excel(file)).iter_slices(BATCH_ROWS)
        return
    frames = map(pl.DataFrame, _sized(_batches(file, part.groups, wanted)))
    while (frame := _guard(file, lambda: next(frames, None))) is not None:
        yield frame


def _sized(batches: Iterator[Any]) -> Iterator[Any]:
    """The same rows as tables of at most BATCH_ROWS and, where more than one row is in them, about BATCH_BYTES."""
    import pyarrow as pa

    held: list[Any] = []
    rows = size = 0
    for part in _parts(batches):
        if held and (rows + part.num_rows > BATCH_ROWS or size + part.nbytes > BATCH_BYTES):
            yield pa.concat_tables(held)
            held, rows, size = [], 0, 0
        held.append(part)
        rows, size = rows + part.num_rows, size + part.nbytes
    if held:
        yield pa.concat_tables(held)


def _parts(batches: Iterator[Any]) -> Iterator[Any]:
    """The same rows in plain types, in small tables."""
    for batch in batches:
        # Offsets that lie and texts that are no UTF-8 would be read by Polars as they are.
        batch.validate(full=True)
        for start in range(0, batch.num_rows, DECODED_ROWS):
            plain = _plain(batch.slice(start, DECODED_ROWS))
            step = max(1, plain.num_rows * BATCH_BYTES // max(plain.nbytes, 1))
            yield from (plain.slice(at, step) for at in range(0, plain.num_rows, step))


def _plain(data: Any) -> Any:
    """A batch or table as a table in types that Polars knows."""
    import pyarrow as pa

    kinds = [(kind, _known(kind)) for kind in data.schema.types]
    columns = [
        column if known == kind else column.cast(known)
        for column, (kind, known) in zip(data.columns, kinds, strict=True)
    ]
    return pa.table(columns, names=data.schema.names)


def _known(kind: Any) -> Any:
    """The Arrow type as which Polars knows values of this one: plain ones for dictionaries, UTC for other offsets,
    lists of {key, value} for maps.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _known(kind.value_type)
    if pa.types.is_timestamp(kind) and kind.tz and FIXED_OFFSET.fullmatch(kind.tz):
        return pa.timestamp(kind.unit, "UTC")
    if pa.types.is_decimal256(kind):
        if kind.precision > DECIMAL_DIGITS:
            raise ValueError(f"a decimal of {kind.precision} digits, where {DECIMAL_DIGITS} is the most")
        return pa.decimal128(kind.precision, kind.scale)
    if pa.types.is_map(kind):
        return pa.list_(pa.struct([("key", _known(kind.key_type)), ("value", _known(kind.item_type))]))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_field(kind.value_field), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(_field(kind.value_field))
    if pa.types.is_list(kind):
        return pa.list_(_field(kind.value_field))
    if pa.types.is_struct(kind):
        return pa.struct([_field(field) for field in kind.fields])
    return kind


def _field(field: Any) -> Any:
    return field.with_type(_known(field.type))


def _arrow_schema(file: ExportFile) -> dict[str, pl.DataType]:
    with _reader(file) as reader:
        schema = reader.schema_arrow if file.format == "parquet" else reader.schema
        for name, kind in zip(schema.names, schema.types, strict=True):
            try:
                _known(kind)
            except ValueError as error:
                raise ExportError(
                    f'{file.name}: "{name}" can\'t be read: {error}', hint="export it as text, or with fewer digits"
                ) from error
        return dict(pl.DataFrame(_plain(schema.empty_table())).schema)


def _batches(file: ExportFile, groups: list[int] | None, wanted: Collection[str] | None) -> Iterator[Any]:
    """The record batches, of a Parquet file those of some row groups or of all; of an object with the columns `wanted`.
    Raises ValueError when it has fewer rows than its footer counts.
    """
    if file.format == "parquet" and file.stored:
        yield from fetched(file, groups or [], wanted)
        return
    with _reader(file) as reader:
        if file.format == "arrow":
            yield from (
                reader if hasattr(reader, "__iter__") else map(reader.get_batch, range(reader.num_record_batches))
            )
            return
        rows, metadata = 0, reader.metadata
        for batch in reader.iter_batches(batch_size=decoded_rows(file, metadata), row_groups=groups):
            rows += batch.num_rows
            yield batch
        said = metadata.num_rows if groups is None else sum(metadata.row_group(at).num_rows for at in groups)
        if rows < said:
            raise ValueError(f"it has {rows} rows and says it has {said}")


def group_starts(file: ExportFile) -> list[int]:
    """The number of the first row of each row group of a Parquet file. Raises ExportError."""
    return [part.start for part in _guard(file, lambda: list(_newer(file, None, None)))]


def group_frames(file: ExportFile, group: int, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Some columns of one row group of a Parquet file. Raises ExportError."""
    return _frames(file, _Part(0, [group]), columns)


@contextmanager
def _reader(file: ExportFile) -> Iterator[Any]:
    """The reader that pyarrow has of a Parquet or Arrow file."""
    import pyarrow.parquet as pq
    from pyarrow import ArrowInvalid, CompressedInputStream, ipc

    with ExitStack() as stack:
        source = stack.enter_context(open_bytes(file))
        if file.format == "parquet":
            if isinstance(source, CompressedInputStream):
                raise ExportError(f"{file.name}: is compressed once more around its own compression", hint="unpack it")
            # Google answers with an error who goes to an object's end to see where that is.
            size = cast("Any", source).size() if file.stored else source.seek(0, io.SEEK_END)
            parquet = pq.ParquetFile(
                source if file.remote else file.uri,
                metadata=footer(file, source) if file.stored else None,
                memory_map=False,
                pre_buffer=False,
                buffer_size=BUFFER_BYTES if size >= BUFFERED_FROM else 0,
                page_checksum_verification=True,
            )
            yield stack.enter_context(parquet)
            return
        try:
            # The file format has its schema at the end, the stream format at the start.
            reader = ipc.open_file(source)
        except (ArrowInvalid, io.UnsupportedOperation):
            reader = ipc.open_stream(stack.enter_context(open_bytes(file)))
        yield reader


def _excel(file: ExportFile) -> pl.DataFrame:
    try:
        import fastexcel  # noqa: F401 (asked for here, to say how to get it)
    except ImportError as error:
        raise SettingsError(
            f"{file.name}: reading Excel needs one more package", hint="pip install 'backfill[excel]'"
        ) from error
    with open_bytes(file) as source:
        data = source.read(EXCEL_BYTES + 1)
    if len(data) > EXCEL_BYTES:
        raise ExportError(f"{file.name}: is over {EXCEL_BYTES // 1_000_000} MB", hint="export it as CSV or Parquet")
    # Types are inferred from all rows: from the first ones alone, a text among numbers further down would
    # become null.
    return pl.read_excel(io.BytesIO(data), infer_schema_length=None)


def _guard(file: ExportFile, work: Callable[[], T]) -> T:
    """A reader's error is the file's: name it. Polars' panics are no Exception, so that they are caught by
    name.
    """
    try:
        return work()
    except (ExportError, SettingsError):
        raise
    except (pl.exceptions.PanicException, Exception) as error:
        if file.stored and fault(file.uri, error):
            raise unreadable(file, error) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ExportError(
            f"{file.name}: is not a file in {file.format} format that can be read: {reason}",
            hint="export it again",
        ) from error
