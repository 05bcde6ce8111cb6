"""Runs on a real Ray cluster of three nodes on this machine: the same result, the same limit, whatever dies."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backfill.errors import LockedError, SettingsError, StoppedError
from backfill.ledger import Ledger, Target
from backfill.observer import Observer
from backfill.pipeline import Sending
from backfill.run import Result, run
from backfill.sandbox import Options, SandboxThread
from backfill.settings import Flags
from tests.cluster.conftest import started
from tests.end_to_end.support import COMMAND, ROOT, SECRET, Shop, balanced
from tests.prove.nodes import kill, kill_node, workers

# Ray's own threads and processes leave files open at their end.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("ray")]

STORE = "64e5a8a1af49a89df37e4ee7"
PART_BYTES = 4_000
AWAY = ("started", "finished", "seconds", "requests", "statuses", "pauses", "mapping")


@pytest.fixture
def engine(nodes) -> Iterator[Any]:
    """The engine on this cluster, with small parts."""
    from backfill.cluster.onray import Cluster, OnRay

    with Cluster(nodes.address) as cluster:
        yield OnRay(cluster, most=PART_BYTES)


@pytest.fixture
def box() -> Iterator[SandboxThread]:
    with SandboxThread(Options(rate=None)) as one:
        yield one


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Iterator[Shop]:
    made = Shop(tmp_path)
    monkeypatch.setenv("REDO_API_SECRET", SECRET)
    yield made
    made.close()


class Watching(Observer):
    """Calls `then` once when so many events were accepted."""

    def __init__(self, accepted: int = -1, then: Callable[[], None] = lambda: None) -> None:
        self.accepted, self.then = accepted, then
        self.seen: list[Sending] = []

    def sending(self, state: Sending) -> None:
        self.seen.append(state)
        if 0 <= self.accepted <= state.accepted:
            self.accepted = -1
            self.then()


def flags(box: SandboxThread, state: Path, **more: Any) -> Flags:
    return Flags(**{"store": STORE, "base_url": box.base_url, "state": state, "rate": 400.0, **more})


def plain(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without what differs from run to run."""
    return {key: value for key, value in balanced(summary).items() if key not in AWAY}


def rejected(result: Result) -> list[str]:
    path = result.folder / "rejected.csv"
    return sorted(path.read_text().splitlines()) if path.exists() else []


def test_it_is_as_on_one_machine(engine, shop, box):
    """Files with twins, duplicates, conflicts and bad rows among them."""
    for name in range(6):
        shop.orders(90, f"orders_{name}.csv", start=80 * name)
    shop.write("orders_7.csv", "order_id,at,email,total,note\n5,2024-01-06T10:00:05Z,c5@example.com,1.00,other\n"
               "900,never,c@example.com,1,\n901,2024-01-01,no address,1,\n")  # fmt: skip
    path = shop.mapping(files="orders_*.csv")
    with SandboxThread(Options(rate=None)) as other:
        here = run(path, flags(other, shop.folder / "here"), Observer())
        assert here.status == 3
        there = run(path, flags(box, shop.folder / "there"), Observer(), engine=engine)
        assert box.ids(STORE) == other.ids(STORE)
    first, second = plain(here.summary), plain(there.summary)
    for one in (first, second):
        del one["base_url"]
    assert second == first
    assert rejected(there) == rejected(here)
    assert there.problems == here.problems
    again = run(path, flags(box, shop.folder / "there"), Observer(), engine=engine)
    assert again.summary["requests"] == 0
    assert again.summary["events"]["already_delivered"] == first["events"]["accepted"]


def test_a_worker_and_its_whole_node_die(nodes, engine, shop, box):
    """What they held goes elsewhere; what they had recorded is not sent again; the limit holds all the time."""
    ids = set()
    for name in range(8):
        ids |= shop.orders(70, f"orders_{name}.csv", start=70 * name)
    path = shop.mapping(files="orders_*.csv")
    extra = nodes.add_node(num_cpus=1)

    def strike() -> None:
        kill("send")
        kill_node(nodes, extra)

    watching = Watching(100, strike)
    began = time.monotonic()
    result = run(path, flags(box, shop.state, rate=100.0), watching, engine=engine)
    assert result.status == 0, result.error
    assert balanced(result.summary)["events"]["accepted"] == len(ids)
    assert box.ids(STORE) == ids
    requests = box.summary().requests if hasattr(box, "summary") else result.summary["requests"]
    assert requests <= 100 * (time.monotonic() - began) + 10
    assert watching.seen[-1].accepted == len(ids)


def test_the_holder_of_the_ledger_dies(engine, shop, box):
    ids = shop.orders(300)
    path = shop.mapping()
    result = run(path, flags(box, shop.state, rate=150.0), Watching(60, lambda: kill("LedgerActor")), engine=engine)
    assert result.status == 0, result.error
    assert balanced(result.summary)["events"]["accepted"] == 300
    assert box.ids(STORE) == ids


def test_the_holder_of_the_rate_dies(engine, shop, box):
    ids = shop.orders(300)
    path = shop.mapping()
    result = run(path, flags(box, shop.state, rate=150.0), Watching(60, lambda: kill("RateActor")), engine=engine)
    assert result.status == 0, result.error
    assert box.ids(STORE) == ids


def test_another_run_holds_the_ledger(engine, shop, box):
    shop.orders(3)
    path = shop.mapping()
    with (
        Ledger.open(shop.state, Target(box.base_url, STORE)),
        pytest.raises(LockedError, match="another run holds the ledger"),
    ):
        run(path, flags(box, shop.state), Observer(), engine=engine)


def test_rows_of_a_group_that_stand_apart_are_not_sent_in_half(engine, shop, box):
    lines = ["order_id,at,email,total,note", *(f"{i // 2 % 30},2024-01-02,c@example.com,1.50,n" for i in range(62))]
    shop.write("orders.csv", "\n".join(lines) + "\n")
    result = run(shop.mapping(source={"group_by": ["order_id"]}), flags(box, shop.state), Observer(), engine=engine)
    assert result.summary["problems"] == {"group_apart": 2}
    assert box.ids(STORE) == {f"order:{i}" for i in range(1, 30)}


def test_stores_by_column(engine, shop, box):
    """The rows are parted on this machine, and sent from it."""
    rows = [f"{'ab'[i % 2]},{i},2024-01-02T10:00:00Z,c{i}@example.com,1.50,n" for i in range(60)]
    shop.write("all.csv", "\n".join(["shop,order_id,at,email,total,note", *rows]) + "\n")
    path = shop.mapping(files="all.csv", delivery={"store": "{shop}"})
    result = run(path, Flags(base_url=box.base_url, state=shop.state, rate=400.0, yes=True), Observer(), engine=engine)
    assert result.status == 0, result.error
    assert box.ids("a") | box.ids("b") == {f"order:{i}" for i in range(60)}
    assert result.summary["events"]["accepted"] == 60


def test_nobody_there():
    from backfill.cluster.onray import Cluster

    with pytest.raises(StoppedError, match="can't connect: Connection refused"):
        Cluster("127.0.0.1:1")
    for address in ("nonsense", "ray://head:10001", ":6379"):
        with pytest.raises(SettingsError, match="is no address of a cluster"):
            Cluster(address)


@pytest.mark.parametrize("with_machine", [False, True])
def test_the_head_dies_and_a_rerun_brings_the_rest(shop, box, with_machine, require):
    """The head's process alone, or all of the machine that holds the ledger and the rate, too: a report, and 75."""
    require(importlib.util.find_spec("ray"), "Ray is not installed")
    from backfill.cluster.onray import Cluster, OnRay

    ids = set()
    for name in range(4):
        ids |= shop.orders(150, f"orders_{name}.csv", start=150 * name)
    path = shop.mapping(files="orders_*.csv")
    own = started(nodes=1)

    def strike() -> None:
        own.head_node.kill_gcs_server()
        if with_machine:
            kill("LedgerActor", "RateActor")
            own.head_node.kill_raylet()

    try:
        with Cluster(own.address, patience=3.0) as cluster:
            watching = Watching(100, strike)
            result = run(path, flags(box, shop.state, rate=60.0), watching, engine=OnRay(cluster, most=PART_BYTES))
    finally:
        own.shutdown()
    assert result.status == 75
    assert result.error
    assert "head" in result.error.message
    events = balanced(result.summary)["events"]
    assert 0 < events["accepted"] <= len(box.ids(STORE)) < 600 or with_machine
    assert (result.folder / "report.html").exists()
    rest = run(path, flags(box, shop.state, rate=2000.0), Observer())
    assert rest.status == 0
    assert rest.summary["events"]["accepted"] + rest.summary["events"]["already_delivered"] == 600
    assert box.ids(STORE) == ids


def test_a_secret_that_is_refused_stops_all_parts(engine, shop):
    for name in range(4):
        shop.orders(60, f"orders_{name}.csv", start=60 * name)
    path = shop.mapping(files="orders_*.csv")
    with SandboxThread(Options(rate=None, secrets=frozenset({"another"}))) as box:
        result = run(path, flags(box, shop.state), Observer(), engine=engine)
    assert result.status == 77
    assert balanced(result.summary)["events"] | {"pending": 240} == result.summary["events"]


def test_the_driver_dies_and_a_rerun_brings_the_rest(nodes, shop, box):
    """The command on the cluster, killed; then the same on this machine alone, with the same ledger."""
    ids = shop.orders(600)
    shop.mapping()
    env = {**os.environ, **shop.env, "REDO_BASE_URL": box.base_url, "PYTHONPATH": str(ROOT)}
    words = ["run", "orders.yaml", "--rate", "150", "--ray", nodes.address, "--json"]
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=shop.folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 90
    while len(box.ids(STORE)) < 100:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert process.stderr
    process.stderr.close()
    end = time.monotonic() + 60
    while workers("LedgerActor") and time.monotonic() < end:
        time.sleep(0.2)
    arrived = len(box.ids(STORE))
    assert arrived < 600
    shop.env["REDO_BASE_URL"] = box.base_url
    rest = shop.deliver("--rate", "2000")
    assert rest.done.status == 0
    assert rest.events["accepted"] + rest.events["already_delivered"] == 600
    assert rest.events["already_delivered"] >= arrived - 64
    assert box.ids(STORE) == ids
