"""Which events a canary takes, and what flows will see of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from backfill import chosen as module
from backfill.arrays import hashes
from backfill.chosen import first_of, first_of_each, sends
from backfill.index import Index, State

EVENT = st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from([State.NEW, State.DELIVERED, State.KEPT]))


@given(st.lists(st.lists(EVENT, max_size=6), max_size=5), st.integers(1, 4), st.integers(1, 6), st.integers(1, 5))
def test_the_first_of_each_name_and_of_all(chunks, each, in_all, at_once):
    index, number = Index(), 0
    for chunk in chunks:
        ids = hashes(pl.Series([str(number + i) for i in range(len(chunk))], dtype=pl.String))
        number += len(chunk)
        names = pl.Series([name for name, _, _ in chunk], dtype=pl.String)
        states = np.array([state for _, _, state in chunk], np.uint8)
        recent = np.array([fresh for _, fresh, _ in chunk], np.bool_)
        files = pl.Series([0] * len(chunk), dtype=pl.UInt32)
        index.add(ids, names, states, files, (len(chunk), 0, 0), recent)
    assert not index.is_open()
    index.resolve()
    before, module.RANKED_AT_ONCE = module.RANKED_AT_ONCE, at_once
    try:
        taken = first_of(first_of_each(index.chosen([State.NEW]), index, each), in_all)
    finally:
        module.RANKED_AT_ONCE = before
    expected, seen = [], Counter()
    for i, (name, fresh, state) in enumerate(one for chunk in chunks for one in chunk):
        if state == State.NEW:
            seen[name] += 1
            if seen[name] <= each:
                expected.append((i, name, fresh))
    del expected[in_all:]
    assert np.flatnonzero(taken).tolist() == [i for i, _, _ in expected]
    counts = Counter(name for _, name, _ in expected)
    recent = Counter(name for _, name, fresh in expected if fresh)
    assert {name: (one.count, one.recent) for name, one in sends(taken, index).items()} == {
        name: (count, recent[name]) for name, count in counts.items()
    }
