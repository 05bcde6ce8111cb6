"""Which of the events that could be sent a run sends, and what of them flows will see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backfill.arrays import Flags, Numbers
from backfill.index import Index

__all__ = ["Sends", "first_of", "first_of_each", "sends"]

RANKED_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Sends:
    """Events of one name that a run is about to send, and how many of them are under 72 hours old."""

    count: int
    recent: int


def first_of(chosen: Flags, most: int) -> Flags:
    """The first so many of the chosen events, in the export's order."""
    left = chosen.copy()
    left[np.flatnonzero(chosen)[most:]] = False
    return left


def first_of_each(chosen: Flags, index: Index, most: int) -> Flags:
    """The first so many of each event name."""
    left = chosen.copy()
    seen = np.zeros(len(index.names) + 1, np.int64)
    for numbers in _parts(np.flatnonzero(chosen)):
        names = index.name_numbers[numbers]
        order = np.argsort(names, kind="stable")
        ordered = names[order]
        rank = np.empty(len(names), np.int64)
        # Its place among those of its name here, behind those of the parts before.
        rank[order] = np.arange(len(names)) - np.searchsorted(ordered, ordered) + seen[ordered]
        left[numbers[rank >= most]] = False
        seen += np.bincount(names, minlength=len(seen))
    return left


def sends(chosen: Flags, index: Index) -> dict[str, Sends]:
    """The chosen events by name."""
    counts, recent = np.zeros((2, len(index.names) + 1), np.int64)
    at = 0
    for (size, _, _), flags in zip(index.checksums, index.recent, strict=True):
        part = slice(at, at + size)
        at += size
        mine = chosen[part]
        if not mine.any():
            continue
        names = index.name_numbers[part]
        counts += np.bincount(names[mine], minlength=len(counts))
        if flags is not None:
            recent += np.bincount(names[mine & flags], minlength=len(recent))
    pairs = zip(index.names, counts.tolist(), recent.tolist(), strict=False)
    return {name: Sends(count, fresh) for name, count, fresh in pairs if count}


def _parts(numbers: Numbers) -> Iterator[Numbers]:
    for start in range(0, len(numbers), RANKED_AT_ONCE):
        yield numbers[start : start + RANKED_AT_ONCE]
