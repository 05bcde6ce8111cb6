"""Arrays of numbers that stand for texts and places of an export, a few bytes an event."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = [
    "Checksum",
    "Flags",
    "Numbers",
    "UInt64s",
    "checksum",
    "content_of",
    "counted",
    "drained",
    "hashes",
    "place_of",
    "repeated",
    "second_hashes",
    "unplace",
]

ROW_BITS = 40
# Polars' hashes differ between its releases: good for one run, never for an id.
SEEDS = (0x5EED1, 0x5EED2, 0x5EED3)
# So many hashes are sorted at once: a copy of all would cost as much memory as all else that is kept.
SORTED_AT_ONCE = 1_000_000
COUNTED_AT_ONCE = 1_000_000

UInt64s = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Checksum = tuple[int, int, int]
"""How many events a chunk has, and sums over the hashes of their ids and contents: the second reading must agree."""


def hashes(texts: pl.Series) -> UInt64s:
    """A number for each text; of two texts that are not the same, another (but for one pair in 2^64)."""
    return texts.hash(SEEDS[0]).to_numpy()


def second_hashes(texts: pl.Series) -> pl.Series:
    """Another number for each text: two texts have both in common once in 2^128."""
    return texts.hash(SEEDS[1])


def checksum(ids: UInt64s, contents: tuple[pl.Series, pl.Series]) -> Checksum:
    """The checksum of a chunk; `ids` as `hashes` has them."""
    return len(ids), int(ids.sum(dtype=np.uint64)), int(content_of(contents).sum(dtype=np.uint64))


def content_of(parts: tuple[pl.Series, pl.Series]) -> UInt64s:
    """A number for what an event says, from its two parts."""
    first, second = (series.hash(SEEDS[2] + i).to_numpy() for i, series in enumerate(parts))
    return np.asarray(first ^ second, np.uint64)


def place_of(files: pl.Series, rows: pl.Series) -> UInt64s:
    """A number for a place in the export; the order of places is that of numbers."""
    place = (files.cast(pl.UInt64).to_numpy() << np.uint64(ROW_BITS)) | rows.to_numpy()
    return np.asarray(place, np.uint64)


def unplace(place: int) -> tuple[int, int]:
    """(file, row) of a place."""
    return place >> ROW_BITS, place & ((1 << ROW_BITS) - 1)


def repeated(parts: list[UInt64s]) -> UInt64s:
    """All numbers that stand more than once, each once, in order; a range of them after the other."""
    count = sum(len(part) for part in parts)
    found = []
    bits = max(count // SORTED_AT_ONCE, 1).bit_length() - 1
    for low in range(1 << bits):
        mine = [part[(part >> np.uint64(64 - bits)) == low] for part in parts] if bits else parts
        ordered = np.concatenate(mine) if mine else np.empty(0, np.uint64)
        ordered.sort()
        found.append(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]))
    return np.concatenate(found)


def counted(numbers: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], size: int) -> Numbers:
    """How often each number below `size` stands there; by parts, because numpy makes eight bytes of each to count."""
    counts = np.zeros(size, np.int64)
    for start in range(0, len(numbers), COUNTED_AT_ONCE):
        counts += np.bincount(numbers[start : start + COUNTED_AT_ONCE], minlength=size)
    return counts


def drained(parts: list, dtype: type) -> npt.NDArray:  # type: ignore[type-arg]  # one helper for arrays of all kinds
    """The parts as one array; they are let go, so that what all events need is there twice for no longer than that."""
    whole = np.concatenate(parts) if parts else np.empty(0, dtype)
    parts.clear()
    return whole
