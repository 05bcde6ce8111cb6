"""An export → as much of it as a draft looks at: its beginning, and the beginnings of some of its other files."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import polars as pl

from backfill.errors import ExportError
from backfill.mapping import CsvOptions, Source
from backfill.read import Export, OpenedFile, open_export
from backfill.read.dialect import csv_reader
from backfill.read.files import open_bytes
from backfill.records import FILE, Chunk, Rejection

__all__ = ["ROWS", "Sample", "entry_from", "take_sample"]

ROWS = 20_000
BYTES = 64_000_000
HEAD_BYTES = 65_536
OTHER_FILES = 8
MOST_LINES = 12
# How many cells of a title are filled, as in "Orders;;;March;", and how many names of a header are missing, at most.
MOST_TITLES = 2
# What no column is called: an address, a number with a fraction, a date, a phone number.
NO_NAME = re.compile(
    r"[^@\s]+@[^@\s]+\.\w+|[+-]?\d+[.,]\d+|\d{4}-\d\d-\d\d.*|\d\d?[/.]\d\d?[/.]\d{2,4}.*|\+?\d[\d ().-]{7,}\d"
)
# Files that are something else: a mapping first of all.
NO_EXPORTS = (".yaml", ".yml", ".pdf", ".html", ".htm", ".xml", ".db", ".sqlite", ".py", ".md", ".docx")
MAGIC = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"{", "ndjson"))


@dataclass(frozen=True)
class Sample(Export):
    """The part of an export that was looked at, which reads like one. `whole`: it is all of it.

    `source` is what a mapping has to say so that the export is read so. `above` are the texts above the first header.
    """

    kept: list[Chunk] = field(default_factory=list)
    whole: bool = True
    source: Source = field(default_factory=lambda: Source(files=[]))
    above: tuple[str, ...] = ()

    def chunks(self, skip: Collection[int] = ()) -> Iterator[Chunk]:
        number = 0
        for chunk in self.kept:
            rows = bool(chunk.frame.height)
            if not skip or chunk.unread or (rows and number not in skip):
                yield chunk
            number += rows

    def frame(self) -> pl.DataFrame:
        """All rows, with FILE and ROW."""
        return pl.concat([chunk.frame for chunk in self.kept]) if self.kept else pl.DataFrame()

    @property
    def rows(self) -> int:
        return sum(chunk.frame.height for chunk in self.kept)

    @property
    def unreadable(self) -> list[Rejection]:
        """The rows that can't be read."""
        return [one for chunk in self.kept for one in chunk.unreadable]

    def with_nulls(self, words: Collection[str]) -> Sample:
        """The same where these texts mean null, as `source.csv.null_values` makes them."""
        if not words:
            return self
        texts = [name for name, dtype in self.schema.items() if dtype == pl.String]
        cut = [pl.when(~pl.col(name).is_in(list(words))).then(pl.col(name)).alias(name) for name in texts]
        kept = [replace(chunk, frame=chunk.frame.with_columns(cut)) for chunk in self.kept]
        csv = self.source.csv.model_copy(update={"null_values": list(words)})
        return replace(self, kept=kept, source=self.source.model_copy(update={"csv": csv}))


def take_sample(entry: str, base: Path, rows: int = ROWS) -> Sample:
    """Open the export that `entry` (a path, glob, folder or URL, relative to `base`) names, and read of it.

    Raises ExportError when nothing of it can be read.
    """
    source = Source(files=[entry])
    try:
        export = open_export(source, base)
    except ExportError as error:
        form = _form(base / Path(entry).expanduser()) if "suffix" in error.message else None
        if form is None:
            raise
        source = Source(files=[entry], format=form)
        export = open_export(source, base)
    if any(map(_is_data, export.files)):
        source = source.model_copy(update={"csv": CsvOptions(header=False)})
        export = open_export(source, base)
    kept, whole = _kept(export, rows)
    if title := _padded_title(export.files[0]):
        source = source.model_copy(update={"csv": source.csv.model_copy(update={"skip_lines": title})})
        export = open_export(source, base)
        kept, whole = _kept(export, rows)
    elif _is_torn(kept):
        # What stands above the header was taken for it, so that no row has its width.
        for lines in range(1, MOST_LINES):
            below = source.model_copy(update={"csv": source.csv.model_copy(update={"skip_lines": lines})})
            other = open_export(below, base)
            read, all_of_it = _kept(other, rows)
            if read and not _is_torn(read):
                source, export, kept, whole = below, other, read, all_of_it
                break
    if not kept and export.unread:
        raise ExportError(f"{export.files[0].file.name}: has no rows", hint="export it again")
    return Sample(
        files=export.files,
        schema=export.schema,
        notes=export.notes,
        unread=export.unread,
        alone=export.alone,
        kept=kept,
        whole=whole,
        source=source,
        above=_above(export.files[0]),
    )


def _padded_title(opened: OpenedFile) -> int:
    """How many lines a title takes above the header, which a spreadsheet has filled up to the width of the rows.

    The mapping says how many they are, since to a reader such a row could be one of names, or of data.
    """
    dialect = opened.dialect
    if dialect is None or not dialect.header or len(dialect.columns) < MOST_TITLES + 2:
        return 0
    with open_bytes(opened.file) as file:
        text = file.read(HEAD_BYTES).decode(dialect.encoding, "replace").removeprefix("\ufeff")
    reader = csv_reader(iter(io.StringIO(text, newline="").readlines()), dialect.separator, dialect.quote)
    above = 0
    for number, cells in enumerate(islice(reader, MOST_LINES)):
        filled = sum(1 for cell in cells if cell.strip())
        if filled > len(cells) - MOST_TITLES and len(cells) == len(dialect.columns):
            names = not any(NO_NAME.fullmatch(cell.strip()) for cell in cells)
            return above if number and names else 0
        if filled > MOST_TITLES or any(NO_NAME.fullmatch(cell.strip()) for cell in cells[:1]):
            return 0
        above = reader.line_num
    return 0


def _above(opened: OpenedFile) -> tuple[str, ...]:
    """What stands above the header, such as a title."""
    dialect = opened.dialect
    if dialect is None or not dialect.skip_lines:
        return ()
    with open_bytes(opened.file) as file:
        text = file.read(HEAD_BYTES).decode(dialect.encoding, "replace")
    lines = io.StringIO(text.removeprefix("\ufeff"), newline=None).readlines()[: dialect.skip_lines]
    stripped = [line.strip().strip(f'{dialect.separator}"').strip() for line in lines]
    return tuple(line for line in stripped if line and "@" not in line)


def _form(path: Path) -> str | None:
    """The format of a file that its suffix does not tell."""
    if not path.is_file() or path.suffix.lower() in NO_EXPORTS:
        return None
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return None
    return next((form for magic, form in MAGIC if head.lstrip().startswith(magic)), "csv")


def _is_data(opened: OpenedFile) -> bool:
    """Whether what was taken for the header is a row: its names would be somebody's data."""
    dialect = opened.dialect
    return dialect is not None and dialect.header and any(NO_NAME.fullmatch(name.strip()) for name in dialect.columns)


def _is_torn(kept: list[Chunk]) -> bool:
    """Whether most rows can't be read."""
    bad = sum(len(chunk.unreadable) for chunk in kept)
    return bad > sum(chunk.frame.height for chunk in kept) and all(
        one.problem == "ragged" for one in kept[0].unreadable
    )


def _kept(export: Export, rows: int) -> tuple[list[Chunk], bool]:
    """The first chunks, and of other files a chunk each; and whether that is all there is."""
    kept: list[Chunk] = []
    seen, size = 0, 0
    chunks = export.chunks()
    whole = True
    for chunk in chunks:
        kept.append(chunk)
        seen += chunk.frame.height
        size += int(chunk.frame.estimated_size())
        if seen >= rows or size >= BYTES:
            # Whether this was the end, only another chunk tells.
            whole = next(chunks, None) is None
            break
    files = {int(one) for chunk in kept for one in chunk.frame[FILE].unique().to_list()}
    others = [opened for opened in export.files if opened.file.position not in files]
    if not whole and size < BYTES:
        step = max(1, len(others) // OTHER_FILES)
        for opened in others[step - 1 :: step][:OTHER_FILES]:
            kept += _first(export, opened)
    return kept, whole


def _first(export: Export, opened: OpenedFile) -> list[Chunk]:
    """The first chunk of one file; a file that can't be read is for `check` to tell."""
    one = Export([opened], export.schema)
    try:
        return [chunk for chunk in islice(one.chunks(), 1) if not chunk.unread]
    except ExportError:
        return []


def entry_from(folder: Path, entry: str, base: Path) -> str:
    """The entry as a mapping in `folder` has to write it, when it was given relative to `base`."""
    if "://" in entry:
        return entry
    path = Path(entry).expanduser()
    full = path if path.is_absolute() else base / path
    if path.is_absolute() and entry[:1] != "~":
        return entry
    relative = os.path.relpath(full, folder)
    if relative.startswith("~"):
        relative = f"./{relative}"
    return relative + "/" * (entry.endswith("/") and relative != ".")
