"""Groups whose rows stand anywhere: all rows are sorted into partitions on disk, and each is read back as a whole."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from backfill.errors import ExportError, StorageError
from backfill.records import Chunk
from backfill.shape.columns import Columns
from backfill.shape.group import GROUP, INCOMPLETE, KEY, fields_of, key_text, parts_of
from backfill.shape.texts import as_text

__all__ = ["gathered"]

# A partition has to fit into memory: at 64, an export of 10 GB comes back in pieces of some 160 MB.
PARTITIONS = 64
CHUNK_ROWS = 20_000
PART = ":part"
NO_GROUPS = [pl.Series(GROUP, [], dtype=pl.UInt32), pl.Series(INCOMPLETE, [], dtype=pl.Boolean)]


def gathered(
    chunks: Iterable[Chunk], columns: Columns, keys: list[str], folder: Path | None, partitions: int = PARTITIONS
) -> Iterator[Chunk]:
    """The rows of all chunks, each group in one chunk; rows get GROUP (a number in the chunk) and KEY (a text).

    Groups come in the order of their first rows within a partition, rows in the export's order, the same in each
    run. Rows that can't be read come first. `folder` takes the partitions, as Arrow files that are gone at the end;
    None is the system's folder for temporary files.
    """
    place: Path | None = None
    try:
        place = Path(tempfile.mkdtemp(prefix="gather-", dir=folder))
        fields = _LostFields()
        for chunk in _sort_out(chunks, columns, keys, place, partitions):
            for one in (*chunk.unreadable, *chunk.lost):
                fields.add(one.text)
            yield chunk
        lost = _LostRows(fields)
        for part in sorted(place.iterdir()):
            for chunk in _groups(part):
                yield Chunk(_mark(chunk.frame, lost, columns, keys))
            part.unlink()
    except OSError as error:
        raise StorageError(
            f"gathering groups in {place or folder or tempfile.gettempdir()}: {error.strerror or error}",
            hint="it needs about as much room as the export; make some there, and run again",
        ) from error
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)


def _sort_out(
    chunks: Iterable[Chunk], columns: Columns, keys: list[str], place: Path, partitions: int
) -> Iterator[Chunk]:
    """Write each row to its partition's file; what is given are the rows that can't be read."""
    from pyarrow import ipc

    writers: dict[int, Any] = {}
    try:
        for chunk in chunks:
            if chunk.unread:
                # Any group may have rows in what can't be read: none is known to be whole.
                raise ExportError(chunk.unread.why, hint=f"{chunk.unread.hint}; its groups are gathered from all files")
            frame = chunk.frame.with_columns(key_text(columns, keys).alias(KEY))
            if chunk.unreadable or chunk.lost:
                empty = frame.clear().with_columns(NO_GROUPS)
                yield Chunk(empty, chunk.unreadable, lost=chunk.lost)
            parts = frame.with_columns(_part(frame[KEY], partitions)).partition_by(
                PART, as_dict=True, include_key=False
            )
            for (part,), rows in parts.items():
                table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
                if part not in writers:
                    writers[part] = ipc.new_stream(str(place / f"{part:05d}.arrows"), table.schema)
                writers[part].write_table(table)
    finally:
        for writer in writers.values():
            writer.close()


class _LostFields:
    """The fields of the rows that can't be read, as hashes: there may be millions."""

    def __init__(self) -> None:
        self.hashes, self.rows, self.count = array("q"), array("q"), 0

    def add(self, text: str) -> None:
        fields = fields_of(text)
        self.hashes.extend(map(hash, fields))
        self.rows.extend(itertools.repeat(self.count, len(fields)))
        self.count += 1


class _LostRows:
    """Finds the rows that can't be read by their fields."""

    def __init__(self, fields: _LostFields) -> None:
        hashes = np.array(fields.hashes, np.int64)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._rows = hashes[order], np.array(fields.rows, np.int64)[order]

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, key: Sequence[str | None]) -> bool:
        """Whether one of the rows has all that a group's key is made of."""
        if any(part is None for part in key):
            return False
        parts = {hash(field) for part in key if part is not None for field in parts_of(part)}
        found: list[npt.NDArray[np.int64]] = []
        for part in parts:
            low, high = np.searchsorted(self._hashes, part), np.searchsorted(self._hashes, part, "right")
            if low == high:
                return False
            found.append(self._rows[low:high])
        first, *others = sorted(found, key=len)
        for other in others:
            at = np.minimum(np.searchsorted(other, first), len(other) - 1)
            first = first[other[at] == first]
        return len(first) > 0


def _mark(frame: pl.DataFrame, lost: _LostRows, columns: Columns, keys: list[str]) -> pl.DataFrame:
    """Mark the groups whose keys are in a row that was lost: no other sign of them is left."""
    if not lost:
        return frame.with_columns(pl.lit(value=False).alias(INCOMPLETE))
    texts = [as_text(*found).alias(name) for name in keys if (found := columns.find(name)) is not None]
    groups = frame.unique(GROUP, keep="first").select(*texts, GROUP)
    marked = [row[-1] for row in groups.iter_rows() if lost.name(row[:-1])]
    hit = pl.col(GROUP).is_in(pl.Series(marked, dtype=frame.schema[GROUP]).implode())
    return frame.with_columns(hit.alias(INCOMPLETE))


def _part(keys: pl.Series, partitions: int) -> pl.Series:
    """The partition of each row: by SHA-256, because Polars' own hash is not the same in each run."""
    distinct = keys.unique()
    numbers = [
        int.from_bytes(hashlib.sha256((key or "").encode()).digest()[:4]) % partitions for key in distinct.to_list()
    ]
    table = pl.DataFrame({KEY: distinct, PART: pl.Series(numbers, dtype=pl.UInt32)})
    return keys.to_frame(KEY).join(table, on=KEY, how="left", nulls_equal=True, maintain_order="left")[PART]


def _groups(part: Path) -> Iterator[Chunk]:
    """The partition's rows, group after group, in chunks of whole groups."""
    from pyarrow import ipc

    with ipc.open_stream(part.read_bytes()) as reader:
        rows = pl.DataFrame(reader.read_all())
    first = pl.col(GROUP).min().over(KEY)
    rows = rows.with_row_index(GROUP).with_columns(first).sort(GROUP, maintain_order=True)
    starts = (
        rows.select((pl.col(GROUP) != pl.col(GROUP).shift()).fill_null(value=True).arg_true()).to_series().to_list()
    )
    borders = [0]
    for start in starts:
        if start - borders[-1] >= CHUNK_ROWS:
            borders.append(start)
    for low, high in itertools.pairwise([*borders, rows.height]):
        yield Chunk(rows.slice(low, high - low))
