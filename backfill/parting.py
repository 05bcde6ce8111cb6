"""An export whose rows name their stores, parted in one pass: each store's rows are put on disk, and read from there.

Rows keep their file and number, and their order. What can't be read, and rows of no store, belong to none of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from backfill.canonical import as_text
from backfill.errors import StorageError
from backfill.mapping import StoreColumn
from backfill.plan import Plan
from backfill.read import Export
from backfill.records import FILE, ROW, Chunk, Rejection, UnreadFile
from backfill.stores import Part, is_store_id
from backfill.tally import Survey, add_problems

__all__ = ["STORE", "Parted", "new_place", "part", "with_stores"]

STORE, NAME = ":store", ":name"
# So many rows, or bytes of them, wait in memory to be written.
WAITING_ROWS = 200_000
WAITING_BYTES = 64_000_000
CHUNK_ROWS = 10_000

Rejecter = Callable[[pl.DataFrame, list[Rejection]], None]
Watcher = Callable[[Survey], None]
Piece = list[int] | UnreadFile


@dataclass(frozen=True)
class Parted(Export):
    """One store's rows of an export, which lie in `place`, as batches of an Arrow file.

    `pieces` are the numbers of the batches of each chunk, and in their place the files that can't be read to their end.
    `lost` are the export's rows that can't be read: they may be of this store. `rows`: how many are this store's.
    """

    place: Path = Path()
    pieces: Sequence[Piece] = ()
    lost: Sequence[Rejection] = ()
    rows: int = 0
    by_file: ClassVar[bool] = False

    def chunks(self, skip: Collection[int] = ()) -> Iterator[Chunk]:
        """As of any export. The rows are those that were there when it was parted. Raises StorageError."""
        from pyarrow import OSFile, Table, ipc

        types = {**self.schema, FILE: pl.UInt32(), ROW: pl.UInt64()}
        empty = pl.DataFrame(schema=types)
        if self.lost:
            yield Chunk(empty, lost=self.lost)
        number = -1
        try:
            with OSFile(str(self.place)) as source, ipc.open_file(source) as reader:
                for piece in self.pieces:
                    if isinstance(piece, UnreadFile):
                        yield Chunk(empty, unread=piece)
                        continue
                    number += 1
                    if number not in skip:
                        frame = pl.DataFrame(Table.from_batches([reader.get_batch(one) for one in piece]))
                        yield Chunk(frame if frame.schema == types else frame.cast(types))  # type: ignore[arg-type]
        except OSError as error:
            raise _no_room(self.place, error) from error

    def reached(self) -> tuple[int, int]:
        """How far it is read is not known."""
        return 0, 0


def part(planned: Plan, column: StoreColumn, place: Path, watch: Watcher, reject: Rejecter, into: Survey) -> list[Part]:
    """A part for each store, in the order of their first rows. What is of none of them is in `into`, also when an error
    ends it. `place` is a new file. Raises ExportError and StorageError.
    """
    found = into
    sorting = _Sorting(planned, place)
    try:
        with sorting:
            for chunk in planned.export.chunks():
                found.rows.unreadable += len(chunk.unreadable)
                found.rows.read += len(chunk.unreadable)
                add_problems(found, chunk.unreadable)
                if chunk.unreadable:
                    reject(chunk.frame, list(chunk.unreadable))
                sorting.lose(chunk.unreadable)
                if chunk.unread:
                    found.unread.append(chunk.unread)
                    sorting.end(chunk.unread)
                if chunk.frame.height:
                    rows = with_stores(planned, column, chunk.frame)
                    sorting.add(rows.filter(pl.col(STORE).is_not_null()))
                    _reject(found, sorting, planned, column, rows.filter(pl.col(STORE).is_null()), reject)
                found.reached = planned.export.reached()
                watch(found)
    except OSError as error:
        raise _no_room(place, error) from error
    return sorting.parts()


def with_stores(planned: Plan, column: StoreColumn, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with the STORE of each, null where it has none, and the NAME that the column has for it."""
    cell = planned.shaper.columns.find(column.column)
    if cell is None:  # it would have been a problem of the mapping
        return frame.with_columns(pl.lit(None, pl.String).alias(STORE), pl.lit(None, pl.String).alias(NAME))
    rows = frame.with_columns(as_text(*cell).str.strip_chars().alias(NAME))
    names = [name for name in rows[NAME].unique().to_list() if name]
    ids = column.map or {name: name for name in names if is_store_id(name)}
    return rows.with_columns(
        pl.col(NAME).replace_strict(ids, default=None, return_dtype=pl.String).alias(STORE)
        if ids
        else pl.lit(None, pl.String).alias(STORE)
    )


def _reject(
    found: Survey, sorting: _Sorting, planned: Plan, column: StoreColumn, rows: pl.DataFrame, reject: Rejecter
) -> None:
    """Rows of no store: of those that the mapping leaves out anyway nobody need know."""
    if not rows.height:
        return
    try:
        kept, _ = planned.shaper.chosen(rows)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        kept = rows
    found.rows.read += rows.height
    found.rows.filtered += rows.height - kept.height
    found.rows.mapped += kept.height
    found.invalid += kept.height
    texts = [as_text(pl.col(name), dtype) for name, dtype in planned.export.schema.items() if not dtype.is_nested()]
    told = kept.select(FILE, ROW, NAME, pl.concat_str(texts, separator=",", ignore_nulls=True).alias(STORE))
    wrong = []
    for file, row, name, text in told.iter_rows():
        why = f'"{name}" is not in the map' if column.map else f'"{name}" is no store\'s id'
        detail = why if name else f"{column.column} is empty"
        wrong.append(Rejection(file, row, "store_missing", detail, column.column, name or "", text or ""))
    add_problems(found, wrong)
    if wrong:
        reject(rows.drop(STORE, NAME), wrong)
        sorting.lose(wrong)


@dataclass
class _Sorting:
    """Writes each store's rows as batches of one file, and remembers which are whose."""

    planned: Plan
    place: Path
    waiting: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    batches: int = 0
    pieces: dict[str, list[tuple[int, int] | UnreadFile]] = field(default_factory=dict)
    names: dict[str, dict[str, None]] = field(default_factory=dict)
    files: dict[str, set[int]] = field(default_factory=dict)
    lost: list[Rejection] = field(default_factory=list)
    unread: list[UnreadFile] = field(default_factory=list)

    def __enter__(self) -> None:
        from pyarrow import OSFile, ipc

        empty = pl.DataFrame(schema={**self.planned.export.schema, FILE: pl.UInt32, ROW: pl.UInt64})
        schema = self._plain(empty).schema
        self._file: Any = OSFile(str(self.place), "wb")
        self._writer: Any = ipc.new_file(self._file, schema)

    def __exit__(self, kind: object, *_unused: object) -> None:
        try:
            if kind is None:
                self._write()
        finally:
            self._writer.close()
            self._file.close()

    def _plain(self, frame: pl.DataFrame) -> Any:
        """As Arrow has it; a dictionary of its own in each batch is more than its file can hold."""
        words = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Categorical | pl.Enum)]
        return frame.with_columns(pl.col(words).cast(pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())

    def add(self, rows: pl.DataFrame) -> None:
        for store, name, file in rows.select(STORE, NAME, FILE).unique(maintain_order=True).iter_rows():
            self.names.setdefault(store, {})[name] = None
            self.files.setdefault(store, set()).add(file)
            self.pieces.setdefault(store, [*self.unread] if self.planned.shaper.grouping else [])
        for (store,), mine in rows.drop(NAME).partition_by(STORE, as_dict=True, include_key=False).items():
            self.waiting.setdefault(str(store), []).append(mine)
        self.rows += rows.height
        self.bytes += int(rows.estimated_size())
        if self.rows >= WAITING_ROWS or self.bytes >= WAITING_BYTES:
            self._write()

    def lose(self, rows: Sequence[Rejection]) -> None:
        """Rows that may be of any store: where events hang on more than their own row, all have to know."""
        if self.planned.shaper.grouping is not None:
            self.lost += rows
        elif self.planned.shaper.since is not None and rows and not self.lost:
            self.lost.append(replace(rows[0], text="", detail="", value=""))

    def end(self, unread: UnreadFile) -> None:
        """Nothing is sent of a file that can't be read to its end."""
        self._write()
        self.unread.append(unread)
        # What of the file could not be read may be of any store: half a group beside it, or rows below its mark.
        shaper = self.planned.shaper
        for store, pieces in self.pieces.items():
            if unread.file in self.files[store] or shaper.grouping:
                pieces.append(unread)
        if shaper.since is not None and not shaper.grouping and not self.lost:
            self.lost.append(Rejection(unread.file, 0, "unread", ""))

    def _write(self) -> None:
        waiting, self.waiting, self.rows, self.bytes = self.waiting, {}, 0, 0
        for store, frames in waiting.items():
            for batch in self._plain(pl.concat(frames)).to_batches(max_chunksize=CHUNK_ROWS):
                self._writer.write_batch(batch)
                self.pieces[store].append((self.batches, batch.num_rows))
                self.batches += 1

    def parts(self) -> list[Part]:
        return [
            Part(store, tuple(self.names[store]), replace(self.planned, export=self._export(store)))
            for store in self.names
        ]

    def _export(self, store: str) -> Parted:
        export = self.planned.export
        return Parted(
            files=[one for one in export.files if one.file.position in self.files[store]],
            schema=export.schema,
            null_values=export.null_values,
            place=self.place,
            pieces=list(self._chunks(store)),
            lost=self.lost,
            rows=sum(piece[1] for piece in self.pieces[store] if not isinstance(piece, UnreadFile)),
        )

    def _chunks(self, store: str) -> Iterator[Piece]:
        """Small batches together: shaping a chunk costs some milliseconds, however few its rows are."""
        together: list[int] = []
        rows = 0
        # A group that is gathered from everywhere may have rows in what can't be read.
        everywhere = self.planned.shaper.grouping is not None and not self.planned.shaper.grouping.adjacent
        for piece in [*(self.unread if everywhere else ()), *self.pieces[store]]:
            if together and (isinstance(piece, UnreadFile) or rows + piece[1] > CHUNK_ROWS):
                yield together
                together, rows = [], 0
            if isinstance(piece, UnreadFile):
                yield piece
            else:
                together.append(piece[0])
                rows += piece[1]
        if together:
            yield together


def new_place(folder: Path | None) -> Path:
    """Where the rows may be put: a new folder in `folder`, or where the system has its temporary files."""
    try:
        return Path(tempfile.mkdtemp(prefix="gather-", dir=folder)) / "stores.arrow"
    except OSError as error:
        raise _no_room(folder or Path(tempfile.gettempdir()), error) from error


def _no_room(place: Path, error: OSError) -> StorageError:
    return StorageError(
        f"parting the export by store in {place.parent}: {error.strerror or error}",
        hint="it needs about as much room as the export; make some there, and run again",
    )
