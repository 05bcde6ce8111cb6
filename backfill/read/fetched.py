"""Row groups of a Parquet file in an object store: what of them is fetched, and how much is decoded at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from backfill.errors import ExportError
from backfill.read.files import ExportFile, open_bytes

__all__ = ["BATCH_BYTES", "DECODED_ROWS", "decoded_rows", "fetched", "footer", "holds"]

# A frame has as many bytes as this at most, where it has more than one row.
BATCH_BYTES = 16_000_000
# Parquet is decoded by so many rows at a time: what they will take is not known before, as a dictionary holds a text
# once that stands in every row.
DECODED_ROWS = 1_000
# As in CSV and NDJSON: an event holds 5 MB at most.
MAX_ROW_BYTES = 16_000_000
# What a row group of an object takes up to this is fetched together, in one request for what stands together: each
# request waits for its answer. Of more, each column is read through a buffer.
FETCHED_BYTES = 64_000_000
FETCHED_BUFFER_BYTES = 4_000_000


def fetched(file: ExportFile, groups: list[int], wanted: Collection[str] | None) -> Iterator[Any]:
    """The record batches of some row groups of an object.

    What is wanted of a row group is asked for together, and held; where that would be too much, each column is read
    through a buffer.
    """
    import pyarrow.parquet as pq

    for at in groups:
        with open_bytes(file) as source:
            metadata = footer(file, source)
            names = _top_columns(metadata.schema.to_arrow_schema().names, wanted)
            group = metadata.row_group(at)
            small = _stored_size(group, names) <= FETCHED_BYTES
            with pq.ParquetFile(
                source,
                metadata=metadata,
                pre_buffer=small,
                buffer_size=0 if small else FETCHED_BUFFER_BYTES,
                page_checksum_verification=True,
            ) as parquet:
                rows = 0
                size = decoded_rows(file, metadata)
                for batch in parquet.iter_batches(batch_size=size, row_groups=[at], columns=names):
                    rows += batch.num_rows
                    yield batch
        if rows < group.num_rows:
            raise ValueError(f"it has {rows} rows and says it has {group.num_rows}")


# Of the objects that were looked at last: reading one asks for its footer again and again.
_footers: OrderedDict[tuple[str, int, bytes], Any] = OrderedDict()
_FOOTERS = 4


def footer(file: ExportFile, source: Any) -> Any:
    """The footer of an object's Parquet, which is fetched once as long as the object is the same."""
    import pyarrow.parquet as pq

    mark = (file.uri, source.size(), repr(sorted((source.metadata() or {}).items())).encode())
    found = _footers.get(mark)
    if found is None:
        found = _footers[mark] = pq.read_metadata(source)
        if len(_footers) > _FOOTERS:
            _footers.popitem(last=False)
    return found


def holds(name: str, wanted: Collection[str]) -> bool:
    """Whether a column is among those that are wanted: `a` is also for `a.b`."""
    return any(one == name or one.startswith(f"{name}.") for one in wanted)


def _top_columns(names: Sequence[str], wanted: Collection[str] | None) -> list[str] | None:
    """The columns that hold what is wanted; one at least, as it tells how many rows there are."""
    if wanted is None:
        return None
    found = [name for name in names if holds(name, wanted)]
    return found or list(names[:1])


def _stored_size(group: Any, names: Sequence[str] | None) -> int:
    """Bytes that the columns take in a row group, as they are stored."""
    columns = [group.column(at) for at in range(group.num_columns)]
    return sum(
        column.total_compressed_size
        for column in columns
        if names is None or any(column.path_in_schema == name or column.path_in_schema.startswith(f"{name}.")
                        for name in names)
    )  # fmt: skip


def decoded_rows(file: ExportFile, metadata: Any) -> int:
    """How many rows of a Parquet file to decode at a time. Raises ExportError when a single one is too many."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    row = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    if row > MAX_ROW_BYTES:
        raise ExportError(
            f"{file.name}: holds rows of {row // 1_000_000:,} MB, where {MAX_ROW_BYTES // 1_000_000} MB is the most",
            hint="an event holds 5 MB at most: export it without the long texts",
        )
    return max(1, min(DECODED_ROWS, BATCH_BYTES // max(row, 1)))
