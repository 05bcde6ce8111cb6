"""What only the whole export shows: ids that stand twice, twins, groups whose rows stand apart.

For each event a few numbers are kept (9 bytes), never its text: a hash of its id, its state, and the number of its name
where a chunk has more than one. Events are numbered in the order in which the export gives them, so that what is
decided here, once the export has been read, is applied by number when it is read again to be sent.

A hash that stands once is an id that stands once. Of those that stand more than once, few in most exports, more has to
be known: they are looked at again (`look`), in another reading of their chunks, before `resolve` decides.
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
# So many hashes are sorted at once: a copy of all would cost as much memory as all else that is kept.
SORTED_AT_ONCE = 1_000_000
COUNTED_AT_ONCE = 1_000_000

UInt64s = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
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
    KEPT = 7
    """Too new, as delivery.not_newer_than says: it waits for a run at which it is old enough."""


@dataclass(frozen=True, slots=True)
class LateProblem:
    """An event that is refused because of another: its place, and that of the other."""

    problem: str
    file: int
    row: int
    other_file: int
    other_row: int


@dataclass
class _Looked:
    """What was seen when the export was looked at again: of suspects all that matters, of groups that stand apart their
    places and their events' numbers, of everything its place if a file is held.
    """

    suspects: list[pl.DataFrame] = field(default_factory=list)
    groups: list[pl.DataFrame] = field(default_factory=list)
    apart: list[Numbers] = field(default_factory=list)
    places: list[UInt64s] = field(default_factory=list)


@dataclass
class Index:
    """Numbers of all events. Add chunk after chunk; where `is_open`, look at the chunks again; then `resolve` once.

    `files`: of each chunk the file of its events, or of each of them. `recent`: of each chunk which of its events are
    under 72 hours old, None for none. `kept_twice`: duplicates of events that are kept back.

    Memory: 9 bytes an event, 3 after `resolve`; 2 more where a chunk has several names, 4 where it is of several files,
    1 where some of it is under 72 hours old; 33 for each suspect; 8 for each rejected twin and each group.
    """

    names: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _ids: list[UInt64s] = field(default_factory=list)
    _ghosts: list[UInt64s] = field(default_factory=list)
    _groups: list[UInt64s] = field(default_factory=list)
    _names: list[int | npt.NDArray[np.uint16]] = field(default_factory=list)
    _states: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    _count: int = 0
    _repeated_ids: UInt64s | None = None
    _repeated_groups: UInt64s = field(default_factory=lambda: np.empty(0, np.uint64))
    _suspects: Flags = field(default_factory=lambda: np.empty(0, np.bool_))
    _looked: _Looked = field(default_factory=_Looked)
    states: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    name_numbers: npt.NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, np.uint16))
    twins: tuple[Numbers, Numbers] = field(default_factory=lambda: (np.empty(0, np.int64), np.empty(0, np.int64)))
    twins_differ: int = 0
    checksums: list[Checksum] = field(default_factory=list)
    files: list[int | npt.NDArray[np.uint32]] = field(default_factory=list)
    recent: list[Flags | None] = field(default_factory=list)
    kept_twice: Numbers = field(default_factory=lambda: np.empty(0, np.int64))
    held: Flags = field(default_factory=lambda: np.empty(0, np.bool_))
    _held: dict[int, bool] = field(default_factory=dict)
    _overruled: list[tuple[Numbers, npt.NDArray[np.uint8]]] = field(default_factory=list)
    _resolved: bool = False

    # The first reading

    def add(
        self,
        ids: UInt64s,
        names: pl.Series,
        states: npt.NDArray[np.uint8],
        files: pl.Series,
        summed: Checksum,
        recent: Flags | None = None,
    ) -> int | npt.NDArray[np.uint16]:
        """Events of one chunk: their ids as `hashes` has them, and the chunk's checksum. Gives their names' numbers."""
        self._ids.append(ids)
        numbers = self._number(names)
        self._names.append(numbers)
        self._states.append(states)
        self._count += len(states)
        self.checksums.append(summed)
        one = files[0] if len(files) and files.min() == files.max() else None
        self.files.append(files.to_numpy() if one is None else one)
        self.recent.append(recent if recent is not None and recent.any() else None)
        return numbers

    def add_ghosts(self, ids: pl.Series) -> None:
        """Rows whose event is rejected, but which are twins of others: mended, they must find their place taken."""
        if len(ids):
            self._ghosts.append(hashes(ids))

    def add_groups(self, keys: pl.Series) -> None:
        """The groups of one chunk, by their keys."""
        self._groups.append(hashes(keys))

    def hold(self, file: int, *, neighbours: bool) -> None:
        """Nothing of a file is to be sent; nor, of `neighbours`, the last group before it and the first one behind."""
        self._held[file] = neighbours

    def __len__(self) -> int:
        return self._count

    # The second look

    def is_open(self) -> bool:
        """Whether the export has to be looked at again before `resolve`."""
        if self._repeated_ids is None:
            self._repeated_ids = _repeated([*self._ids, *self._ghosts])
            self._repeated_groups = _repeated(self._groups)
            if len(self._repeated_ids):
                self._suspects = np.concatenate([np.isin(ids, self._repeated_ids) for ids in self._ids])
            for unused in (self._ids, self._groups):
                unused.clear()
        return bool(len(self._repeated_ids) or len(self._repeated_groups) or self._held)

    def suspects(self) -> Flags | None:
        """Which events have to be looked at again; None when all."""
        return None if self._held or self._ghosts or len(self._repeated_groups) else self._suspects

    def look(
        self,
        at: int,
        ids: pl.Series,
        contents: tuple[pl.Series, pl.Series],
        places: UInt64s,
        allowed: Flags,
        groups: pl.Series | None = None,
    ) -> Numbers:
        """Events of one chunk again, from number `at` on; columns of one length. Those (by their places in the chunk)
        of which `resolve` may decide something.

        `allowed`: the mapping says `occurrence: true` of it. `groups`: the key of its group.
        """
        mine = self._suspect(at, ids, contents, places, allowed)
        if self._held:
            self._looked.places.append(places)
        if groups is not None and len(self._repeated_groups):
            apart = np.flatnonzero(np.isin(hashes(groups), self._repeated_groups))
            self._looked.apart.append(apart + at)
            mine = np.union1d(mine, apart)
        return mine

    def look_at_ghosts(self, ids: pl.Series, places: UInt64s) -> None:
        """Rejected twins again. They have no number: they count as if they came behind all events."""
        none = pl.Series([""], dtype=pl.String).new_from_index(0, len(ids))
        self._suspect(len(self), ids, (none, none), places, np.ones(len(ids), np.bool_))

    def look_at_groups(self, keys: pl.Series, places: UInt64s) -> None:
        """Groups again."""
        of_key = hashes(keys)
        mine = np.isin(of_key, self._repeated_groups)
        if mine.any():
            self._looked.groups.append(pl.DataFrame({"key": of_key[mine], "place": places[mine]}))

    def _wanted(self) -> UInt64s:
        return self._repeated_ids if self._repeated_ids is not None else np.empty(0, np.uint64)

    def _suspect(
        self, at: int, ids: pl.Series, contents: tuple[pl.Series, pl.Series], places: UInt64s, allowed: Flags
    ) -> Numbers:
        first = hashes(ids)
        mine = np.flatnonzero(np.isin(first, self._wanted()))
        if not len(mine):
            return mine
        rows = pl.Series(mine)
        self._looked.suspects.append(
            pl.DataFrame(
                {
                    "number": mine + at,
                    "first": first[mine],
                    "second": ids[rows].hash(SEEDS[1]),
                    "content": content_of((contents[0][rows], contents[1][rows])),
                    "place": places[mine],
                    "allowed": allowed[mine],
                }
            )
        )
        return mine

    # The decision

    def resolve(self) -> list[LateProblem]:
        """Decide what only the whole export shows. Sets `states`, `twins`; gives the events that are refused for it.

        Once it is done, doing it again changes nothing.
        """
        if self._resolved:
            return []
        self._resolved = True
        self.states = _drained(self._states, np.uint8)
        self.name_numbers = np.empty(len(self.states), np.uint16)
        at = 0
        for (count, _, _), numbers in zip(self.checksums, self._names, strict=True):
            self.name_numbers[at : at + count] = numbers
            at += count
        self._names.clear()
        looked, self._looked = self._looked, _Looked()
        self._hold(_drained(looked.places, np.uint64))
        problems = self._apart(looked)
        if looked.suspects:
            frame = pl.concat(looked.suspects)
            # What is held is no reason to reject another. Twins keep their places.
            held = pl.Series(np.flatnonzero(self.held))
            frame = frame.filter(pl.col("allowed") | ~pl.col("number").is_in(held.implode()))
            problems += self._repeats(frame.filter(pl.len().over("first", "second") > 1))
        for unused in (self._ids, self._ghosts, self._groups):
            unused.clear()
        return problems

    def _hold(self, places: UInt64s) -> None:
        """Events that were to be sent, and can't be for the file they are in, wait."""
        if not self._held or len(places) != len(self.states):
            # Nothing to hold; or the reading did not come to its end, and nothing will be sent.
            return
        self.held = np.zeros(len(self.states), np.bool_)
        for file, neighbours in self._held.items():
            low, high = np.uint64(file << ROW_BITS), np.uint64((file + 1) << ROW_BITS)
            held = (places >= low) & (places < high)
            before, behind = places[places < low], places[places >= high]
            if neighbours and len(before):
                held |= places == before.max()
            if neighbours and len(behind):
                held |= places == behind.min()
            self.held |= held
        self.states[self.held & np.isin(self.states, (State.NEW, State.KEPT))] = State.HELD

    def _repeats(self, frame: pl.DataFrame) -> list[LateProblem]:
        ids = ["first", "second"]
        # By place, not by number: chunks give their rejected rows last, but a twin stands where its row does.
        frame = frame.sort("place", "number").with_columns(
            twin=pl.int_range(pl.len()).over(ids),
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
        same = again.filter("same")["number"].to_numpy()
        self.kept_twice = same[self.states[same] == State.KEPT]
        self._overrule(same, State.DUPLICATE)
        conflicts = again.filter(~pl.col("same"))
        self._overrule(conflicts["number"].to_numpy(), State.INVALID)
        return [
            LateProblem("id_conflict", *unplace(place), *unplace(other))
            for place, other in conflicts.select("place", "other").iter_rows()
        ]

    def _apart(self, looked: _Looked) -> list[LateProblem]:
        """Groups whose rows stand apart: none of their parts is the whole, so that none is sent."""
        if not looked.groups:
            return []
        self._overrule(_drained(looked.apart, np.int64), State.INVALID)
        frame = pl.concat(looked.groups).with_columns(
            first=pl.col("place").min().over("key"), last=pl.col("place").max().over("key")
        )
        others = frame.with_columns(other=pl.when(pl.col("place") == pl.col("first")).then("last").otherwise("first"))
        return [
            LateProblem("group_apart", *unplace(place), *unplace(other))
            for place, other in others.select("place", "other").iter_rows()
        ]

    def _overrule(self, numbers: Numbers, state: State) -> None:
        self._overruled.append((numbers, self.states[numbers]))
        self.states[numbers] = state

    def _number(self, names: pl.Series) -> int | npt.NDArray[np.uint16]:
        """Names as numbers, one for all if they are one; from 65,535 on all have one: such names are a mistake."""
        if names.is_empty():  # replace_strict would make objects of nothing
            return 0
        distinct = names.unique().to_list()
        for name in distinct:
            if name not in self._numbers:
                self._numbers[name] = min(len(self.names), 0xFFFF)
                if len(self.names) <= 0xFFFF:
                    self.names.append(name)
        if len(distinct) == 1:
            return self._numbers[distinct[0]]
        numbers = [self._numbers[name] for name in distinct]
        return names.replace_strict(distinct, numbers, return_dtype=pl.UInt16).to_numpy()

    # The answers

    def overruled(self) -> tuple[Numbers, npt.NDArray[np.uint8]]:
        """The events, by number in order, that `resolve` made duplicates or invalid, and what their states were."""
        numbers = np.concatenate([np.empty(0, np.int64), *(one for one, _ in self._overruled)])
        states = np.concatenate([np.empty(0, np.uint8), *(before for _, before in self._overruled)])
        order = np.argsort(numbers)
        return numbers[order], states[order]

    def twin_of(self, start: int, stop: int) -> pl.Series | None:
        """Which of its twins each event of a range of numbers is; None where none has any."""
        numbers, twins = self.twins
        low, high = np.searchsorted(numbers, (start, stop))
        if low == high:
            return None
        result = np.zeros(stop - start, np.int64)
        result[numbers[low:high] - start] = twins[low:high]
        return pl.Series(result)

    def chosen(self, states: Sequence[State]) -> Flags:
        """Which events are in one of these states, and are not held."""
        wanted = np.zeros(len(State), np.bool_)
        wanted[list(states)] = True
        chosen = wanted[self.states]
        if len(self.held):
            chosen &= ~self.held
        return chosen

    def counts(self) -> dict[State, int]:
        """How many events have each state."""
        found = _counts(self.states, len(State))
        return {state: int(found[state]) for state in State}

    def counts_by_name(self, state: State) -> dict[str, int]:
        """How many events of each name have this state."""
        found = _counts(self.name_numbers[self.states == state], len(self.names))
        return {name: int(count) for name, count in zip(self.names, found, strict=False) if count}


def hashes(texts: pl.Series) -> UInt64s:
    """A number for each text; of two texts that are not the same, another (but for one pair in 2^64)."""
    return texts.hash(SEEDS[0]).to_numpy()


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


def _repeated(parts: list[UInt64s]) -> UInt64s:
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


def _counts(numbers: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], size: int) -> Numbers:
    """How often each number below `size` stands there; by parts, because numpy makes eight bytes of each to count."""
    counts = np.zeros(size, np.int64)
    for start in range(0, len(numbers), COUNTED_AT_ONCE):
        counts += np.bincount(numbers[start : start + COUNTED_AT_ONCE], minlength=size)
    return counts


def _drained(parts: list, dtype: type) -> npt.NDArray:  # type: ignore[type-arg]  # one helper for arrays of all kinds
    """The parts as one array; they are let go, so that what all events need is there twice for no longer than that."""
    whole = np.concatenate(parts) if parts else np.empty(0, dtype)
    parts.clear()
    return whole
