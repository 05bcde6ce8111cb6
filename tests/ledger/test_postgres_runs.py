"""The command itself with its ledger on a server, which is killed under it, as it is itself."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfill.sandbox import Faults, Options, SandboxThread
from tests.end_to_end.support import STORE, Shop, balanced, eventually, kill
from tests.ledger.server import Server

PASSWORD = "canary-pa55word"
WORDS = ("--concurrency", "6", "--rate", "5000")


@pytest.fixture
def box() -> Iterator[SandboxThread]:
    with SandboxThread(Options(rate=None, faults=Faults.parse("latency=4±4"))) as box:
        yield box


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    name = server.database()
    yield server.url(name, password=PASSWORD)
    server.take_back(name)


@pytest.fixture
def shop(tmp_path: Path, box: SandboxThread) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    shop.env["REDO_BASE_URL"] = box.base_url
    yield shop
    shop.close()


def test_a_disk_that_does_not_last_is_enough(shop: Shop, box: SandboxThread, url: str) -> None:
    shop.env["BACKFILL_LEDGER"] = url
    ids = shop.orders(600)
    shop.mapping(delivery={"endpoint": "bulk"})
    assert shop.deliver(*WORDS).events["accepted"] == 600
    said = "".join(path.read_text() for path in shop.state.rglob("*") if path.is_file())
    assert not (shop.state / "ledger.db").exists()
    shutil.rmtree(shop.state)
    nothing = shop.deliver(*WORDS, "--reread")
    assert (nothing.summary["requests"], nothing.events["already_delivered"]) == (0, 600)
    assert box.ids(STORE) == ids
    status = shop.do("status", "orders.yaml", "--json")
    told = json.loads(status.out)
    assert told["ledger"].startswith("postgresql:///ledger_")
    assert told["stores"][0]["accepted"] == {"Order Placed": 600}
    checked = shop.do("check", "orders.yaml")
    assert "600" in checked.out
    report = shop.do("report", "orders.yaml")
    assert report.status == 0
    # A rehearsal is this machine's own.
    shop.do("run", "orders.yaml", "--sandbox")
    assert (shop.state / "sandbox" / "ledger.db").exists()
    said += status.said + checked.said + report.said + nothing.folder.joinpath("report.html").read_text()
    assert PASSWORD not in said


def test_a_password_is_not_for_a_command_line(shop: Shop, url: str) -> None:
    shop.orders(3)
    shop.mapping()
    refused = shop.do("run", "orders.yaml", "--ledger", url, status=78)
    assert "BACKFILL_LEDGER_FILE" in refused.err
    assert PASSWORD not in refused.said
    (shop.folder / "url.txt").write_text(url + "\n")
    shop.env["BACKFILL_LEDGER_FILE"] = str(shop.folder / "url.txt")
    assert shop.deliver().events["accepted"] == 3
    assert not (shop.state / "ledger.db").exists()


def test_a_server_that_is_not_there_ends_the_command(shop: Shop) -> None:
    shop.orders(3)
    shop.mapping()
    shop.env["BACKFILL_LEDGER"] = f"postgresql://me:{PASSWORD}@127.0.0.1:1/x"
    for words in (("run", "orders.yaml"), ("check", "orders.yaml"), ("status", "orders.yaml")):
        failed = shop.do(*words, status=74)
        assert "postgresql://127.0.0.1:1/x" in failed.err
        assert PASSWORD not in failed.said
    shop.env["BACKFILL_LEDGER"] = "mysql://x"
    assert "postgresql://user@host" in shop.do("run", "orders.yaml", status=78).err


def test_a_run_that_did_not_begin_is_not_told_of_a_store_of_others(shop: Shop, url: str) -> None:
    shop.env["BACKFILL_LEDGER"] = url
    shop.orders(3)
    shop.mapping(delivery={"endpoint": "bulk"})
    shop.deliver(*WORDS)
    (shop.folder / "others.yaml").write_text("events: {}\n")
    shop.do("run", "others.yaml", status=78)
    shop.mapping(delivery={"endpoint": "neither"})
    shop.do("run", "orders.yaml", status=78)
    told = json.loads(shop.do("status", "orders.yaml", "--json").out)
    assert [(run["mapping"], run["state"]) for run in told["runs"]] == [
        ("orders.yaml", "exit 78"),
        ("orders.yaml", "exit 0"),
    ]


def test_two_hosts_run_one_store_one_at_a_time(shop: Shop, box: SandboxThread, url: str) -> None:
    shop.env["BACKFILL_LEDGER"] = url
    shop.orders(4_000)
    shop.mapping()
    first = shop.start("run", "orders.yaml", *WORDS)
    eventually(lambda: box.summary().requests > 50, "50 requests", first)
    began = time.monotonic()
    second = shop.do("run", "orders.yaml", "--state", "elsewhere", status=11)
    assert time.monotonic() - began < 5
    assert f"process {first.pid} on" in second.err
    assert f"running as process {first.pid}" in shop.do("status", "orders.yaml").out
    # Another store is no matter of theirs.
    shop.mapping("other.yaml", delivery={"store": STORE[::-1], "endpoint": "bulk"})
    assert shop.do("run", "other.yaml", *WORDS).status == 0
    assert kill(first)
    last = shop.deliver(*WORDS)
    assert last.events["accepted"] + last.events["already_delivered"] == 4_000
    assert box.summary().stored == 8_000


def test_the_server_is_killed_in_the_middle_of_a_run(shop: Shop, box: SandboxThread, own_server: Server) -> None:
    shop.env["BACKFILL_LEDGER"] = own_server.url(own_server.database())
    events = 3_000
    ids = shop.orders(events)
    shop.mapping()
    process = shop.start("run", "orders.yaml", *WORDS, "--json")
    for goal in (500, 1_500):
        eventually(lambda: box.summary().requests > goal, f"{goal} requests", process)  # noqa: B023
        own_server.kill()
        starter = threading.Timer(0.5, own_server.start)
        starter.start()
        starter.join()
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    summary: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert balanced(summary)["events"]["accepted"] == events
    assert box.ids(STORE) == ids
    assert box.summary().stored == events
    assert box.summary().duplicates == 0
    status = json.loads(shop.do("status", "orders.yaml", "--json").out)
    assert status["stores"][0]["accepted"] == {"Order Placed": events}
    assert status["runs"][0]["accepted"] == events
    assert shop.deliver(*WORDS, "--reread").summary["requests"] == 0


def test_killed_with_its_server(shop: Shop, box: SandboxThread, own_server: Server) -> None:
    shop.env["BACKFILL_LEDGER"] = own_server.url(own_server.database())
    ids = shop.orders(3_000)
    shop.mapping()
    process = shop.start("run", "orders.yaml", *WORDS)
    eventually(lambda: box.summary().requests > 700, "700 requests", process)
    own_server.kill()
    assert kill(process)
    shop.do("run", "orders.yaml", status=74)
    own_server.start()
    last = shop.deliver(*WORDS)
    assert last.events["accepted"] + last.events["already_delivered"] == 3_000
    assert last.events["already_delivered"] > 500
    assert box.ids(STORE) == ids
    assert box.summary().duplicates <= 12
