"""kill -9 at every point where state changes: the rerun ends as if nothing had been, and resends what was in flight."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from backfill.ledger import Ledger
from backfill.sandbox import Faults, Options, SandboxThread
from tests.end_to_end.support import balanced
from tests.faults.harness import KILLED, Place, Zygote

# All of them take minutes.
SEEDS = 200 if os.environ.get("BACKFILL_EVERY_CALL") else 40
CONCURRENCY = 4
# Workers that wait for the ledger while others send.
IN_FLIGHT = 2 * CONCURRENCY
FLAGS = {"concurrency": CONCURRENCY, "rate": 5000.0}
numbers = itertools.count(1)


@dataclass(frozen=True)
class Scenario:
    """An export and a mapping in which much of what can be is."""

    endpoint: str
    rows: int
    status: int
    source: dict[str, Any]
    unique_id: Any = "order:{order_id}"

    @property
    def size(self) -> int:
        return 100 if self.endpoint == "bulk" else 1

    def write(self, folder: Path) -> None:
        lines = ["order_id,at,email,total,note"]
        for i in range(self.rows):
            at = "yesterday" if self.status == 3 and i % 13 == 5 else f"2024-01-{i % 28 + 1:02}T10:00:00Z"
            order = i // 3 if "group_by" in self.source else i
            lines.append(f"{order},{at},c{order}@example.com,{i}.50,n{i % 7}")
        # The same event twice: a duplicate, or a twin.
        lines.append(lines[1])
        (folder / "orders.csv").write_text("\n".join(lines) + "\n")
        event = {
            "eventName": "Order Placed",
            "uniqueId": self.unique_id,
            "eventTimestamp": "{at}",
            "customer": {"email": "{email}"},
            "data": {"Total": {"column": "total", "type": "number"}},
        }
        delivery = {"endpoint": self.endpoint, "flows": "acknowledged"}
        tree = {"source": {"files": "orders.csv", **self.source}, "events": [event], "delivery": delivery}
        (folder / "orders.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


SCENARIOS = {
    "single": Scenario("single", 24, 3, {}),
    "bulk": Scenario("bulk", 420, 3, {}),
    "twins": Scenario("single", 24, 0, {}, {"hash": "*", "prefix": "t:", "occurrence": True}),
    "groups": Scenario("bulk", 60, 3, {"group_by": {"columns": ["order_id"], "adjacent": False}}),
}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


@pytest.fixture(scope="module")
def box() -> Iterator[SandboxThread]:
    with SandboxThread(Options(rate=None)) as running:
        yield running


Make = Callable[[str], Place]


@pytest.fixture
def place(tmp_path: Path, box: SandboxThread, zygote: Zygote) -> Make:
    """`place("single")`: a folder for a scenario, with a store of its own."""

    def make(name: str) -> Place:
        # One place at a time: a server that holds the events of all others would be asked through all of them.
        box.reset()
        folder = tmp_path / f"{name}{next(numbers)}"
        folder.mkdir()
        SCENARIOS[name].write(folder)
        return Place(folder, box, zygote, f"{next(numbers):024x}", dict(FLAGS))

    return make


@dataclass(frozen=True)
class Clean:
    """A run that nothing disturbed: its events, its numbers, and the points that it passed, as often as it did."""

    events: dict[str, dict[str, Any]]
    summary: dict[str, Any]
    points: Counter[str]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, box: SandboxThread, zygote: Zygote) -> dict[str, Clean]:
    found = {}
    for name, scenario in SCENARIOS.items():
        box.reset()
        folder = tmp_path_factory.mktemp(name)
        scenario.write(folder)
        place = Place(folder, box, zygote, f"{next(numbers):024x}", dict(FLAGS))
        status = place.run(points=folder / "points.txt")
        assert status == scenario.status, place.said()
        assert place.again() == []
        points = Counter((folder / "points.txt").read_text().splitlines())
        found[name] = Clean(place.arrived(), place.summary(), points)
    return found


def killed(place: Place, scenario: Scenario, point: str, nth: int) -> bool:
    """Whether the run was killed there; what the ledger knows then arrived, and the rest was in flight."""
    status = place.run(kill=(point, nth))
    if status != KILLED:
        # It did not come there that often (a rerun has less to do), and so went on to its end.
        assert status == scenario.status, place.said()
        return False
    arrived = set(place.arrived())
    known = place.known(arrived) if (place.state / "ledger.db").exists() else set()
    assert len(arrived - known) <= IN_FLIGHT * scenario.size
    return True


def mended(place: Place, scenario: Scenario, clean: Clean, *, once_more: bool) -> None:
    """The next run brings what is missing and nothing else."""
    before, again = set(place.arrived()), Counter(place.again())
    known = place.known(before) if (place.state / "ledger.db").exists() else set()
    assert place.run() == scenario.status, place.said()
    assert place.arrived() == clean.events
    # Sent once more was what had arrived and was not known to have, each of it once.
    assert Counter(place.again()) - again == Counter(before - known)
    summary = place.summary()
    assert summary["rows"] == clean.summary["rows"]
    assert summary["problems"] == clean.summary["problems"]
    assert summary["events"]["already_delivered"] == len(known)
    assert summary["events"]["accepted"] == len(clean.events) - len(known)
    if once_more:
        assert place.run() == scenario.status
        assert place.summary()["requests"] == 0
    left = [path.name for path in place.state.glob("runs/*/.*")]
    assert all(name.endswith(".new") for name in left), left
    assert list(place.state.glob("runs/*/gather-*")) == []


CALLS = [
    "make the folder .backfill", "make the folder runs", "make the folder of the run",
    "commit making the ledger", "rename ledger.db", "commit entering the target", "commit beginning the run",
    "create rejected.csv", "write rejected.csv", "commit writing a mapping's identity",
    "send a request", "read an answer's head", "read an answer's body", "commit recording outcomes",
    "commit writing down what is delivered",
    "create .report.html.new", "write .report.html.new", "sync .report.html.new", "rename report.html",
    "create .summary.json.new", "write .summary.json.new", "sync .summary.json.new", "rename summary.json",
    "commit ending the run", "the run",
]  # fmt: skip


def call_of(point: str) -> str:
    """Without before, within or after."""
    return point.partition(": ")[2]


@pytest.mark.parametrize("name", ["single", "bulk"])
def test_no_call_was_forgotten(clean: dict[str, Clean], name: str) -> None:
    """What is listed is what a run does: a new call that changes state has to be added, and is then killed at."""
    assert {call_of(point) for point in clean[name].points} == set(CALLS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["single", "bulk"])
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_each_call(place: Make, clean: dict[str, Clean], name: str, call: str) -> None:
    """Before it, within it where it has a middle, and after it; the first time and the last."""
    scenario, counts = SCENARIOS[name], clean[name].points
    for point in sorted(point for point in counts if call_of(point) == call):
        for nth in sorted({1, counts[point]}):
            here = place(name)
            # How outcomes are put together in a commit, and so how many there are, is another each time.
            assert killed(here, scenario, point, nth) or call == "commit recording outcomes"
            mended(here, scenario, clean[name], once_more=nth == 1 and point.startswith("after"))


@pytest.mark.slow
def test_interrupted_at_each_call_before_sending(place: Make, clean: dict[str, Clean]) -> None:
    """A run that the ledger knows of has a report, however early Ctrl-C came."""
    scenario = SCENARIOS["bulk"]
    first = CALLS.index("send a request")
    signals = itertools.cycle(
        [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
    )
    for point in sorted(point for point in clean["bulk"].points if call_of(point) in CALLS[:first]):
        here, (number, status) = place("bulk"), next(signals)
        assert here.run(kill=(point, 1), number=number) == status, (point, here.said())
        assert here.arrived() == {}
        with Ledger.read(here.state) as ledger:
            runs = ledger.runs()
        assert [run.exit_status for run in runs] in ([], [status]), point
        for run in runs:
            balanced(json.loads((here.state / "runs" / run.info.folder / "summary.json").read_text()))
        mended(here, scenario, clean["bulk"], once_more=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_by_chance(place: Make, clean: dict[str, Clean], box: SandboxThread, seed: int) -> None:
    """Up to three kills one after the other, at a server that misbehaves as well. A seed repeats its choices."""
    chance = random.Random(seed)
    name = chance.choice(sorted(SCENARIOS))
    scenario, counts = SCENARIOS[name], clean[name].points
    here = place(name)
    faults = chance.choice(["", "", "latency=3±3", f"reset=4%,reset_stored=4%,503=4%,seed={seed}"])
    plan = [
        (point := chance.choice(sorted(counts)), chance.randint(1, counts[point]))
        for _ in range(chance.choice((1, 1, 2, 3)))
    ]
    print(json.dumps({"seed": seed, "scenario": name, "faults": faults, "kills": plan}))
    box.set_faults(Faults.parse(faults))
    try:
        for point, nth in plan:
            killed(here, scenario, point, nth)
    finally:
        box.set_faults(Faults())
    mended(here, scenario, clean[name], once_more=seed % 4 == 0)
