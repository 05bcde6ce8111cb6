"""`python -m tests.prove`, small: two stores on three nodes of which one dies, and one that refuses everything."""

from __future__ import annotations

import pytest

from tests.cluster.conftest import CPUS
from tests.prove.measure import above, np, pace_of
from tests.prove.proof import Proof, prove

# Ray's own threads and processes leave files open at their end.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("ray")]


def test_many_stores_on_nodes_of_which_one_dies(nodes, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("REDO_API_SECRET", "prove")
    said: list[str] = []
    proof = Proof(
        6_000, stores=3, rate=10, parts=2, every=(0.3, 0.3), blows=("node",), most=1, replaced=(0, 0), refusing=1
    )
    found = prove(proof, nodes, tmp_path, said.append, CPUS)
    assert found.wrong() == []
    assert len(found.blows) == 1
    assert found.twice <= 64 * 100
    assert {store: one["exit"] for store, one in found.result.summary["stores"].items()} == {
        "store-0": 0, "store-1": 0, "store-2": 77,
    }  # fmt: skip
    # What Ray says of its dead is not for who reads a command's lines.
    assert capfd.readouterr().out == ""


def test_what_is_measured():
    even = np.arange(0, 100, 0.1)
    assert above(even, 10) == pytest.approx(1)
    assert above(np.sort(np.concatenate([even, even[:5]])), 10) == pytest.approx(6)
    assert above(np.sort(np.concatenate([even, np.full(20, 50.0)])), 10) == pytest.approx(21)
    broken = even[(even < 30) | (even > 40)]
    pace = pace_of(broken, 10, [29.95], 12.0)
    assert (pace.kept, pace.gap) == (pytest.approx(1, abs=0.002), pytest.approx(0.1))
    assert pace.gap_at_kill == pytest.approx(10.1, abs=0.11)
    assert pace_of(broken, 10, [], 12.0).kept == pytest.approx(0.9, abs=0.002)
