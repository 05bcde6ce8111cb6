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

from backfill.arrays import (
    ROW_BITS,
    Checksum,
    Flags,
    Numbers,
    UInt64s,
    content_of,
    counted,
    drained,
    hashes,
    repeated,
    second_hashes,
    unplace,
)

__all__ = ["Hashes", "Index", "LateProblem", "Looked", "State"]


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
class Hashes:
    """Of each chunk the hashes of its events' ids, of its rejected twins' ids, and of its groups' keys."""

    ids: list[UInt64s] = field(default_factory=list)
    ghosts: list[UInt64s] = field(default_factory=list)
    groups: list[UInt64s] = field(default_factory=list)

    def buckets(self, count: int) -> list[UInt64s]:
        """The ids' hashes, in so many parts (a power of two) by their first bits: what is repeated is so within one."""
        bits = count.bit_length() - 1
        whole = np.concatenate([*self.ids, *self.ghosts, np.empty(0, np.uint64)])
        if not bits:
            return [whole]
        bucket = whole >> np.uint64(64 - bits)
        return [whole[bucket == one] for one in range(count)]


@dataclass
class Looked:
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
    hashes: Hashes = field(default_factory=Hashes)
    _names: list[int | npt.NDArray[np.uint16]] = field(default_factory=list)
    _states: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    _count: int = 0
    _repeated_ids: UInt64s | None = None
    _repeated_groups: UInt64s = field(default_factory=lambda: np.empty(0, np.uint64))
    _has_ghosts: bool = False
    _suspects: Flags = field(default_factory=lambda: np.empty(0, np.bool_))
    looked: Looked = field(default_factory=Looked)
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
        self.hashes.ids.append(ids)
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
            self.hashes.ghosts.append(hashes(ids))

    def add_groups(self, keys: pl.Series) -> None:
        """The groups of one chunk, by their keys."""
        self.hashes.groups.append(hashes(keys))

    def hold(self, file: int, *, neighbours: bool) -> None:
        """Nothing of a file is to be sent; nor, of `neighbours`, the last group before it and the first one behind."""
        self._held[file] = neighbours

    def __len__(self) -> int:
        return self._count

    # The second look

    def is_open(self) -> bool:
        """Whether the export has to be looked at again before `resolve`."""
        if self._repeated_ids is None:
            mine = self.hashes
            self.expect(repeated([*mine.ids, *mine.ghosts]), repeated(mine.groups))
        return bool(len(self._wanted()) or len(self._repeated_groups) or self._held)

    def expect(self, ids: UInt64s, groups: UInt64s) -> None:
        """These hashes of ids and of groups stand more than once in the whole export."""
        self._repeated_ids, self._repeated_groups = ids, groups
        self._has_ghosts = bool(self.hashes.ghosts)
        if len(ids) and self.hashes.ids:
            self._suspects = np.concatenate([np.isin(mine, ids) for mine in self.hashes.ids])
        self.hashes = Hashes()

    def suspects(self) -> Flags | None:
        """Which events have to be looked at again; None when all."""
        return None if self._held or self._has_ghosts or len(self._repeated_groups) else self._suspects

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
            self.looked.places.append(places)
        if groups is not None and len(self._repeated_groups):
            apart = np.flatnonzero(np.isin(hashes(groups), self._repeated_groups))
            self.looked.apart.append(apart + at)
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
            self.looked.groups.append(pl.DataFrame({"key": of_key[mine], "place": places[mine]}))

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
        self.looked.suspects.append(
            pl.DataFrame(
                {
                    "number": mine + at,
                    "first": first[mine],
                    "second": second_hashes(ids[rows]),
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
        self.states = drained(self._states, np.uint8)
        self.name_numbers = np.empty(len(self.states), np.uint16)
        at = 0
        for (count, _, _), numbers in zip(self.checksums, self._names, strict=True):
            self.name_numbers[at : at + count] = numbers
            at += count
        self._names.clear()
        looked, self.looked = self.looked, Looked()
        self._hold(drained(looked.places, np.uint64))
        problems = self._apart(looked)
        if looked.suspects:
            frame = pl.concat(looked.suspects)
            # What is held is no reason to reject another. Twins keep their places.
            held = pl.Series(np.flatnonzero(self.held))
            frame = frame.filter(pl.col("allowed") | ~pl.col("number").is_in(held.implode()))
            problems += self._repeats(frame.filter(pl.len().over("first", "second") > 1))
        self.hashes = Hashes()
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

    def _apart(self, looked: Looked) -> list[LateProblem]:
        """Groups whose rows stand apart: none of their parts is the whole, so that none is sent."""
        if not looked.groups:
            return []
        self._overrule(drained(looked.apart, np.int64), State.INVALID)
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
        """Names as numbers, one for all if they are one."""
        if names.is_empty():  # replace_strict would make objects of nothing
            return 0
        distinct = names.unique(maintain_order=True).to_list()
        numbers = [self._number_of(name) for name in distinct]
        if len(distinct) == 1:
            return numbers[0]
        return names.replace_strict(distinct, numbers, return_dtype=pl.UInt16).to_numpy()

    def _number_of(self, name: str) -> int:
        """From 65,535 on all names have one number: such names are a mistake."""
        if name not in self._numbers:
            self._numbers[name] = min(len(self.names), 0xFFFF)
            if len(self.names) <= 0xFFFF:
                self.names.append(name)
        return self._numbers[name]

    # An export in parts, each of which is read elsewhere

    def add_part(self, part: Index) -> list[int]:
        """All that a part holds after its first reading, but for its hashes. Gives the numbers of its names here."""
        numbers = [self._number_of(name) for name in part.names]
        lookup = np.array(numbers or [0], np.uint16)
        self._names += [numbers[n] if isinstance(n, int) and numbers else lookup[n] for n in part._names]
        self._states += part._states
        self._count += len(part)
        self.checksums += part.checksums
        self.files += part.files
        self.recent += part.recent
        self._held |= part._held
        return numbers

    def held_files(self) -> set[int]:
        """The files of which nothing is to be sent."""
        return set(self._held)

    def bare(self) -> Index:
        """What the second look at a part needs to know of its first reading."""
        part = Index(checksums=self.checksums)
        part._count, part._held = self._count, self._held
        return part

    def add_looked(self, looked: Looked, at: int, count: int) -> None:
        """What the second look at a part showed, whose events are the `count` from number `at` on.

        An export whose rows make groups has one part only.
        """
        # Rejected twins count as if they came behind all events.
        number = pl.when(pl.col("number") < count).then(pl.col("number") + at).otherwise(len(self))
        self.looked.suspects += [frame.with_columns(number) for frame in looked.suspects]
        self.looked.groups += looked.groups
        self.looked.apart += looked.apart
        if self._held:
            # A part without a file that is held was not looked at for its places: none of them is of such a file.
            nowhere = np.full(count, np.iinfo(np.uint64).max, np.uint64)
            self.looked.places += looked.places or [nowhere]

    def part(self, chunks: slice, events: slice) -> Index:
        """After `resolve`, what is known of some chunks and their events, numbered from 0."""
        numbers, twins = self.twins
        low, high = np.searchsorted(numbers, (events.start, events.stop))
        kept = self.kept_twice[(self.kept_twice >= events.start) & (self.kept_twice < events.stop)]
        part = Index(
            names=self.names,
            states=self.states[events],
            name_numbers=self.name_numbers[events],
            twins=(numbers[low:high] - events.start, twins[low:high]),
            checksums=self.checksums[chunks],
            kept_twice=kept - events.start,
            held=self.held[events],
        )
        part._count = len(part.states)
        part._resolved = True
        return part

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
        found = counted(self.states, len(State))
        return {state: int(found[state]) for state in State}

    def counts_by_name(self, state: State) -> dict[str, int]:
        """How many events of each name have this state."""
        found = counted(self.name_numbers[self.states == state], len(self.names))
        return {name: int(count) for name, count in zip(self.names, found, strict=False) if count}
