"""An export in parts of some size, each of which can be read apart from the others.

A part is some files that stand together, or of a large Parquet file some row groups that do. Together, one behind the
other, the parts are the export: files and rows have the numbers in them that they have in the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backfill.read.export import Export
from backfill.read.opened import OpenedFile
from backfill.read.typed import row_groups

__all__ = ["PART_BYTES", "split"]

# Some 500,000 rows: a minute's work for a machine that dies to be done again elsewhere.
PART_BYTES = 128_000_000


def split(export: Export, most: int = PART_BYTES) -> list[Export]:
    """The parts of an export, each of about `most` bytes as they are stored, or as small as it can be made.

    Raises ExportError for a Parquet file whose footer can't be read.
    """
    if not export.by_file:
        return [replace(export, notes=[], older=None)]
    parts: list[list[OpenedFile]] = [[]]
    size = 0
    for piece, bytes_of in _pieces(export, most):
        if parts[-1] and size + bytes_of > most:
            parts.append([])
            size = 0
        parts[-1].append(piece)
        size += bytes_of
    bounds = [part[0].file.position for part in parts[1:]]
    starts, stops = [0, *bounds], [*bounds, None]
    found = []
    for part, start, stop in zip(parts, starts, stops, strict=True):
        unread = {at: one for at, one in export.unread.items() if start <= at and (stop is None or at < stop)}
        found.append(replace(export, files=part, unread=unread, notes=[], older=None))
    return found


def _pieces(export: Export, most: int) -> Iterator[tuple[OpenedFile, int]]:
    for opened in export.files:
        stored = opened.fingerprint.size
        if opened.file.format != "parquet" or stored <= most or opened.groups is not None:
            yield opened, stored
            continue
        sizes = row_groups(opened.file)
        whole = max(sum(sizes), 1)
        held: list[int] = []
        for number in range(len(sizes)):
            held.append(number)
            # Their shares of what is stored: how each is compressed is not told for all at once.
            share = stored * sum(sizes[at] for at in held) // whole
            following = stored * sizes[number + 1] // whole if number + 1 < len(sizes) else most + 1
            if share + following > most:
                yield replace(opened, groups=tuple(held)), share
                held = []
        if held:
            yield replace(opened, groups=tuple(held)), 0
