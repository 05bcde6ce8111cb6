"""What only the whole export shows: ids that stand twice, twins, groups whose rows stand apart.

For each event a few numbers are kept (35 bytes), never its text: two hashes of its id, one of its content, its place,
its name's number, and its state. Events are numbered in the order in which the export gives them, so that what is
decided here, once the export has been read, is applied by number when it is read again to be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Checksum", "Index", "LateProblem", "State", "checksum"]

ROW_BITS = 40
# Polars' hashes differ between its releases: good for one run, never for an id.
SEEDS = (0x5EED1, 0x5EED2, 0x5EED3)

UInt64s = npt.NDArray[np.uint64]
Checksum = tuple[int, int, int]
"""How many events a chunk has, and sums over the hashes of their ids and contents: the second reading must agree."""


class State(IntEnum):
    """What will become of an event, or became of it in an earlier run."""

    NEW = 0
    DELIVERED = 1
    CHANGED = 2
    REFUSED = 3
    DUPLICATE = 4
    INVALID = 5
    HELD = 6
    """Of a file that can't be read to its end: it waits for the next run."""


@dataclass(frozen=True, slots=True)
class LateProblem:
    """An event that is refused because of another: its place, and that of the other."""

    problem: str
    file: int
    row: int
    other_file: int
    other_row: int


@dataclass
class Index:
    """Numbers of all events. Add chunk after chunk, then `resolve` once.

    Memory: 35 bytes an event while it is filled, 11 after `resolve`; 24 for each rejected twin and 16 for each group.
    """

    names: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _first_ids: list[UInt64s] = field(default_factory=list)
    _second_ids: list[UInt64s] = field(default_factory=list)
    _contents: list[UInt64s] = field(default_factory=list)
    _places: list[UInt64s] = field(default_factory=list)
    _names: list[npt.NDArray[np.uint16]] = field(default_factory=list)
    _twin_allowed: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    _ghosts: list[tuple[UInt64s, UInt64s, UInt64s]] = field(default_factory=list)
    _group_keys: list[UInt64s] = field(default_factory=list)
    _group_places: list[UInt64s] = field(default_factory=list)
    states: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    _states: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    places: UInt64s = field(default_factory=lambda: np.empty(0, np.uint64))
    name_numbers: npt.NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, np.uint16))
    twins: tuple[UInt64s, UInt64s] = field(default_factory=lambda: (np.empty(0, np.uint64), np.empty(0, np.uint64)))
    twins_differ: int = 0
    checksums: list[Checksum] = field(default_factory=list)
    held: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    _held: dict[int, bool] = field(default_factory=dict)

    def add(
        self,
        ids: pl.Series,
        contents: tuple[pl.Series, pl.Series],
        files: pl.Series,
        rows: pl.Series,
        names: pl.Series,
        states: npt.NDArray[np.uint8],
        twin_allowed: npt.NDArray[np.bool_],
    ) -> None:
        """Events of one chunk; columns of one length. `twin_allowed`: its mapping says `occurrence: true`."""
        self._first_ids.append(ids.hash(SEEDS[0]).to_numpy())
        self._second_ids.append(ids.hash(SEEDS[1]).to_numpy())
        self._contents.append(_content(contents))
        self.checksums.append(_checksum(self._first_ids[-1], self._contents[-1]))
        self._places.append(_place(files, rows))
        self._names.append(self._number(names))
        self._states.append(states)
        self._twin_allowed.append(twin_allowed)

    def add_ghosts(self, ids: pl.Series, files: pl.Series, rows: pl.Series) -> None:
        """Rows whose event is rejected, but which are twins of others: mended, they must find their place taken."""
        self._ghosts.append((ids.hash(SEEDS[0]).to_numpy(), ids.hash(SEEDS[1]).to_numpy(), _place(files, rows)))

    def add_groups(self, keys: pl.Series, files: pl.Series, rows: pl.Series) -> None:
        """The groups of one chunk: each one's key, and where its first row stands."""
        self._group_keys.append(keys.hash(SEEDS[0]).to_numpy())
        self._group_places.append(_place(files, rows))

    def hold(self, file: int, *, neighbours: bool) -> None:
        """Nothing of a file is to be sent; nor, of `neighbours`, the last group before it and the first one behind."""
        self._held[file] = neighbours

    def __len__(self) -> int:
        return sum(len(states) for states in self._states) if self._states else len(self.states)

    def resolve(self) -> list[LateProblem]:
        """Decide what only the whole export shows. Sets `states`, `twins`; gives the events that are refused for it.

        Once it is done, doing it again changes nothing.
        """
        if len(self.states):
            return []
        self.states = _drained(self._states, np.uint8)
        self.places = _drained(self._places, np.uint64)
        self.name_numbers = _drained(self._names, np.uint16)
        self._hold()
        problems = self._apart()
        ghosts = [_concat([ghost[i] for ghost in self._ghosts], np.uint64) for i in range(3)]
        self._ghosts.clear()
        first = np.concatenate((_drained(self._first_ids, np.uint64), ghosts[0]))
        suspects = _repeated(first)
        if len(suspects):
            blank = np.zeros(len(ghosts[0]), np.uint64)
            frame = pl.DataFrame(
                {
                    "number": suspects,
                    "first": first[suspects],
                    "second": np.concatenate((_drained(self._second_ids, np.uint64), ghosts[1]))[suspects],
                    "content": np.concatenate((_drained(self._contents, np.uint64), blank))[suspects],
                    "place": np.concatenate((self.places, ghosts[2]))[suspects],
                    "allowed": np.concatenate((_drained(self._twin_allowed, np.bool_), blank == 0))[suspects],
                }
            )
            # What is held is no reason to reject another. Twins keep their places.
            held = pl.Series(np.flatnonzero(self.held))
            frame = frame.filter(pl.col("allowed") | ~pl.col("number").is_in(held.implode()))
            problems += self._repeats(frame.filter(pl.len().over("first", "second") > 1))
        for unused in (self._second_ids, self._contents, self._twin_allowed):
            unused.clear()
        return problems

    def _hold(self) -> None:
        """Events that were to be sent, and can't be for the file they are in, wait."""
        self.held = np.zeros(len(self.states), np.bool_)
        for file, neighbours in self._held.items():
            low, high = np.uint64(file << ROW_BITS), np.uint64((file + 1) << ROW_BITS)
            held = (self.places >= low) & (self.places < high)
            before, behind = self.places[self.places < low], self.places[self.places >= high]
            if neighbours and len(before):
                held |= self.places == before.max()
            if neighbours and len(behind):
                held |= self.places == behind.min()
            self.held |= held
        self.states[self.held & (self.states == State.NEW)] = State.HELD

    def _repeats(self, frame: pl.DataFrame) -> list[LateProblem]:
        ids = ["first", "second"]
        # By place, not by number: chunks give their rejected rows last, but a twin stands where its row does.
        frame = frame.sort("place", "number").with_columns(
            twin=pl.int_range(pl.len(), dtype=pl.UInt64).over(ids),
            same=pl.col("content") == pl.col("content").first().over(ids),
            other=pl.col("place").first().over(ids),
        )
        later = frame.filter((pl.col("twin") > 0) & (pl.col("number") < len(self.states)))
        twins = later.filter("allowed").sort("number")
        self.twins = twins["number"].to_numpy(), twins["twin"].to_numpy()
        self.twins_differ = twins.filter(~pl.col("same")).height
        again = later.filter(~pl.col("allowed"))
        valid = self.states[again["number"].to_numpy()] != State.INVALID
        again = again.filter(pl.Series(valid, dtype=pl.Boolean))
        self.states[again.filter("same")["number"].to_numpy()] = State.DUPLICATE
        conflicts = again.filter(~pl.col("same"))
        self.states[conflicts["number"].to_numpy()] = State.INVALID
        return [
            LateProblem("id_conflict", *unplace(place), *unplace(other))
            for place, other in conflicts.select("place", "other").iter_rows()
        ]

    def _apart(self) -> list[LateProblem]:
        """Groups whose rows stand apart: none of their parts is the whole, so that none is sent."""
        keys, places = _concat(self._group_keys, np.uint64), _concat(self._group_places, np.uint64)
        self._group_keys.clear()
        self._group_places.clear()
        suspects = _repeated(keys)
        if not len(suspects):
            return []
        frame = pl.DataFrame({"key": keys[suspects], "place": places[suspects]}).with_columns(
            first=pl.col("place").min().over("key"), last=pl.col("place").max().over("key")
        )
        apart = np.isin(self.places, frame["place"].to_numpy())
        self.states[apart] = State.INVALID
        others = frame.with_columns(other=pl.when(pl.col("place") == pl.col("first")).then("last").otherwise("first"))
        return [
            LateProblem("group_apart", *unplace(place), *unplace(other))
            for place, other in others.select("place", "other").iter_rows()
        ]

    def _number(self, names: pl.Series) -> npt.NDArray[np.uint16]:
        """Names as numbers; from 65,535 on all are one: names without end are a mistake that is told otherwise."""
        if names.is_empty():  # replace_strict would make objects of nothing
            return np.empty(0, np.uint16)
        distinct = names.unique().to_list()
        for name in distinct:
            if name not in self._numbers:
                self._numbers[name] = min(len(self.names), 0xFFFF)
                if len(self.names) <= 0xFFFF:
                    self.names.append(name)
        if len(distinct) == 1:
            return np.full(len(names), self._numbers[distinct[0]], np.uint16)
        numbers = [self._numbers[name] for name in distinct]
        return names.replace_strict(distinct, numbers, return_dtype=pl.UInt16).to_numpy()

    def twin_of(self, start: int, stop: int) -> pl.Series | None:
        """Which of its twins each event of a range of numbers is; None where none has any."""
        numbers, twins = self.twins
        low, high = np.searchsorted(numbers, (start, stop))
        if low == high:
            return None
        result = np.zeros(stop - start, np.int64)
        result[numbers[low:high].astype(np.int64) - start] = twins[low:high]
        return pl.Series(result)

    def chosen(self, states: Sequence[State]) -> npt.NDArray[np.bool_]:
        """Which events are in one of these states, and are not held."""
        return np.isin(self.states, states) & ~self.held if len(self.held) else np.isin(self.states, states)

    def counts(self) -> dict[State, int]:
        """How many events have each state."""
        found = np.bincount(self.states, minlength=len(State))
        return {state: int(found[state]) for state in State}

    def counts_by_name(self, state: State) -> dict[str, int]:
        """How many events of each name have this state."""
        found = np.bincount(self.name_numbers[self.states == state], minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, found, strict=False) if count}


def checksum(ids: pl.Series, contents: tuple[pl.Series, pl.Series]) -> Checksum:
    """The checksum of a chunk, from what `Index.add` was given of it."""
    return _checksum(ids.hash(SEEDS[0]).to_numpy(), _content(contents))


def _checksum(ids: UInt64s, contents: UInt64s) -> Checksum:
    return len(ids), int(ids.sum(dtype=np.uint64)), int(contents.sum(dtype=np.uint64))


def _content(parts: tuple[pl.Series, pl.Series]) -> UInt64s:
    first, second = (series.hash(SEEDS[2] + i).to_numpy() for i, series in enumerate(parts))
    return np.asarray(first ^ second, np.uint64)


def _place(files: pl.Series, rows: pl.Series) -> UInt64s:
    place = (files.cast(pl.UInt64).to_numpy() << np.uint64(ROW_BITS)) | rows.to_numpy()
    return np.asarray(place, np.uint64)


def unplace(place: int) -> tuple[int, int]:
    """(file, row) of a place."""
    return place >> ROW_BITS, place & ((1 << ROW_BITS) - 1)


def _repeated(keys: UInt64s) -> npt.NDArray[np.int64]:
    """The numbers of all keys that stand more than once, in order."""
    if len(keys) < 2:
        return np.empty(0, np.int64)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return np.empty(0, np.int64)
    member = np.concatenate((same, [False])) | np.concatenate(([False], same))
    return np.sort(order[member])


def _drained(parts: list, dtype: type) -> npt.NDArray:  # type: ignore[type-arg]  # one helper for arrays of all kinds
    """The parts as one array; they are let go, so that what all events need is there twice for no longer than that."""
    whole = _concat(parts, dtype)
    parts.clear()
    return whole


def _concat(parts: list, dtype: type) -> npt.NDArray:  # type: ignore[type-arg]  # one helper for arrays of all kinds
    return np.concatenate(parts) if parts else np.empty(0, dtype)
