"""Index: what only the whole export shows, against a model of plain dicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill import arrays as array_module
from backfill.arrays import UInt64s, checksum, hashes, place_of
from backfill.index import Index, LateProblem, State

ROWS_A_FILE = 7


@dataclass(frozen=True)
class One:
    """One event: its id, its content, its name, whether its mapping says `occurrence`, what the ledger said of it."""

    id: str
    content: str
    name: str = "Order Placed"
    twin: bool = False
    state: State = State.NEW


def place(number: int) -> tuple[int, int]:
    return number // ROWS_A_FILE, number % ROWS_A_FILE + 2


def texts(values: Iterable[str]) -> pl.Series:
    return pl.Series(list(values), dtype=pl.String)


def places(numbers: Iterable[int]) -> UInt64s:
    at = [place(number) for number in numbers]
    files, rows = [file for file, _ in at], [row for _, row in at]
    return place_of(pl.Series(files, dtype=pl.UInt32), pl.Series(rows, dtype=pl.UInt64))


def contents_of(chunk: list[One]) -> tuple[pl.Series, pl.Series]:
    return texts(one.content[:1] for one in chunk), texts(one.content[1:] for one in chunk)


def filled(chunks: list[list[One]], groups: Sequence[str] = ()) -> Index:
    """An index that has seen all chunks, and those again that it asks for; `groups`: each event's."""
    index, number = Index(), 0
    for chunk in chunks:
        ids = hashes(texts(one.id for one in chunk))
        states = np.array([one.state for one in chunk], np.uint8)
        files = pl.Series([place(number + i)[0] for i in range(len(chunk))], dtype=pl.UInt32)
        index.add(ids, texts(one.name for one in chunk), states, files, checksum(ids, contents_of(chunk)))
        if groups:
            index.add_groups(texts(groups[number : number + len(chunk)]))
        number += len(chunk)
    if index.is_open():
        suspects, number = index.suspects(), 0
        for chunk in chunks:
            stop = number + len(chunk)
            if suspects is None or suspects[number:stop].any():
                at, mine = places(range(number, stop)), texts(groups[number:stop])
                allowed = np.array([one.twin for one in chunk], np.bool_)
                ids = texts(one.id for one in chunk)
                index.look(number, ids, contents_of(chunk), at, allowed, mine if groups else None)
                if groups:
                    index.look_at_groups(mine, at)
            number = stop
    return index


ids = st.sampled_from(["a", "b", "c", "d", "", "é"])
# Of one id all or none may have twins: the id's own mapping says so.
ones = st.builds(
    One,
    ids,
    st.sampled_from(["xx", "xy", "yx"]),
    st.sampled_from(["Order Placed", "Order Refunded"]),
    st.just(False),
    st.sampled_from([State.NEW, State.NEW, State.DELIVERED, State.CHANGED, State.REFUSED]),
)


@given(st.lists(st.lists(ones, max_size=6), max_size=6))
def test_repeated_ids(chunks):
    index = filled(chunks)
    events = [one for chunk in chunks for one in chunk]
    assert len(index) == len(events)
    problems = index.resolve()
    assert len(index) == len(events)

    first: dict[str, int] = {}
    states, expected = [], []
    for number, one in enumerate(events):
        at = first.setdefault(one.id, number)
        if at == number:
            states.append(one.state)
        elif one.content == events[at].content:
            states.append(State.DUPLICATE)
        else:
            states.append(State.INVALID)
            expected.append(LateProblem("id_conflict", *place(number), *place(at)))
    assert index.states.tolist() == states
    assert problems == expected
    assert index.counts() == {state: states.count(state) for state in State}
    for state in State:
        names = [one.name for one, its in zip(events, states, strict=True) if its == state]
        assert index.counts_by_name(state) == {name: names.count(name) for name in names}
    assert index.twin_of(0, len(events)) is None


@given(
    st.lists(st.lists(st.builds(One, ids, st.sampled_from(["xx", "xy"]), twin=st.just(True)), max_size=6), max_size=6)
)
def test_twins(chunks):
    index = filled(chunks)
    events = [one for chunk in chunks for one in chunk]
    assert index.resolve() == []
    assert set(index.states.tolist()) <= {State.NEW}
    seen: dict[str, list[str]] = {}
    twins = []
    for one in events:
        twins.append(len(seen.setdefault(one.id, [])))
        seen[one.id].append(one.content)
    assert index.twins_differ == sum(c != contents[0] for contents in seen.values() for c in contents)
    # Any part of the numbers gives the same answer as the whole.
    for start in range(0, len(events) + 1, 3):
        for stop in range(start, len(events) + 1, 2):
            told = index.twin_of(start, stop)
            assert (told.to_list() if told is not None else [0] * (stop - start)) == twins[start:stop]


def test_twins_beside_ids_that_have_none():
    index = filled(
        [[One("a", "x", twin=True), One("b", "x")], [One("a", "x", twin=True), One("b", "x"), One("b", "y")]]
    )
    problems = index.resolve()
    assert index.states.tolist() == [State.NEW, State.NEW, State.NEW, State.DUPLICATE, State.INVALID]
    assert problems == [LateProblem("id_conflict", *place(4), *place(1))]
    told = index.twin_of(0, 5)
    assert told is not None
    assert told.to_list() == [0, 0, 1, 0, 0]


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.integers(0, 9), max_size=4))
def test_groups_apart(keys, again):
    """Each group makes an event at its first row; those that come back make another, and then none is the whole."""
    order = [*keys, *(keys[i] for i in again if i < len(keys))]
    events = [One(f"{key} {number}", key) for number, key in enumerate(order)]
    index = filled([[event] for event in events], groups=order)
    problems = index.resolve()
    apart = {key for key in order if order.count(key) > 1}
    assert index.states.tolist() == [State.INVALID if key in apart else State.NEW for key in order]
    told = {(problem.file, problem.row): (problem.other_file, problem.other_row) for problem in problems}
    assert len(told) == len(problems)
    assert set(told) == {place(number) for number, key in enumerate(order) if key in apart}
    for number, key in enumerate(order):
        if key in apart:
            last = len(order) - 1 - order[::-1].index(key)
            assert told[place(number)] == place(last if order.index(key) == number else order.index(key))


@pytest.mark.parametrize("chunks", [[], [[]]])
def test_an_empty_index(chunks):
    index = filled(chunks)
    assert index.resolve() == []
    assert index.resolve() == []
    assert index.counts() == dict.fromkeys(State, 0)
    assert index.counts_by_name(State.NEW) == {}
    assert index.twin_of(0, 0) is None


def test_names_without_end():
    count = 70_000
    index = filled(
        [
            [One(str(i), "x", name=f"name {i}") for i in range(start, start + 10_000)]
            for start in range(0, count, 10_000)
        ]
    )
    index.resolve()
    by_name = index.counts_by_name(State.NEW)
    assert sum(by_name.values()) == count
    assert by_name["name 0"] == 1


def test_rows_and_files_beyond_32_bits():
    index = Index()
    files, rows = [0, 70_000, 70_000], [2**40 - 1, 5_000_000_000, 2]
    ids, contents = texts("aaa"), (texts("xyx"), texts(["", "", ""]))
    of_files = pl.Series(files, dtype=pl.UInt32)
    index.add(hashes(ids), texts("nnn"), np.zeros(3, np.uint8), of_files, checksum(hashes(ids), contents))
    assert index.is_open()
    at = place_of(of_files, pl.Series(rows, dtype=pl.UInt64))
    index.look(0, ids, contents, at, np.zeros(3, np.bool_))
    assert index.resolve() == [LateProblem("id_conflict", 70_000, 5_000_000_000, 0, 2**40 - 1)]
    assert index.states.tolist() == [State.NEW, State.INVALID, State.DUPLICATE]


@given(st.lists(st.lists(st.integers(0, 60), max_size=40), max_size=6), st.integers(1, 9))
def test_what_is_repeated_is_found_in_parts_too(parts, at_once):
    """Sorted range by range, as the millions are, it is what a plain count finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(array_module, "SORTED_AT_ONCE", at_once)
        # Spread over all of the numbers, as hashes are.
        arrays = [np.array(part, np.uint64) * np.uint64(2**58 + 1) for part in parts]
        found = array_module.repeated(arrays)
    numbers = [int(one) for part in arrays for one in part]
    assert found.tolist() == sorted({one for one in numbers if numbers.count(one) > 1})
