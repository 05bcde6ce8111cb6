"""Secrets, stores and servers that are wrong: said at once, with no event marked as refused; and the secret stays one."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess

import httpx
import pytest

from tests.end_to_end.support import SECRET, STORE, finish


@pytest.mark.parametrize(
    ("options", "status", "word", "endpoint"),
    [
        ({"secrets": frozenset({"another"})}, "401", "401", "single"),
        ({"forbidden": frozenset({SECRET})}, "403", "403", "bulk"),
        ({"stores": frozenset({"another"})}, "404", STORE, "single"),
        ({"stores": frozenset({"another"})}, "404", STORE, "bulk"),
    ],
)
def test_refused_access(shop, start, options, status, word, endpoint):
    box = start(**options)
    shop.env["REDO_BASE_URL"] = box.base_url
    shop.orders(500)
    shop.mapping()
    run = shop.deliver("--endpoint", endpoint, "--concurrency", "4", status=77)
    assert run.events == {"total": 500, "pending": 500}
    assert not run.lines("rejected.ndjson")
    assert word in run.done.err
    assert run.summary["statuses"].keys() == {status}
    assert box.summary().requests <= 8


def test_mended_access_goes_on(shop, start):
    box = start(secrets=frozenset({SECRET}))
    shop.env |= {"REDO_BASE_URL": box.base_url, "REDO_API_SECRET": "wrong"}
    ids = shop.orders(30)
    shop.mapping(delivery={"endpoint": "bulk"})
    shop.deliver(status=77)
    del shop.env["REDO_API_SECRET"]
    shop.env["REDO_API_SECRET_FILE"] = str(shop.write("secret", f"{SECRET}\n"))
    assert shop.deliver().events == {"total": 30, "accepted": 30}
    assert box.ids(STORE) == ids


def test_a_secret_that_is_replaced_while_a_run_goes_on(shop, start):
    box = start("unauthorized@12")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(30)
    shop.mapping()
    run = shop.deliver("--rate", "1000", "--concurrency", "2", status=77)
    assert run.events["accepted"] == 12
    assert box.summary().faults["unauthorized"] == box.summary().statuses["401"]
    shop.env["REDO_API_SECRET"] = "the-new-one"
    assert shop.deliver("--endpoint", "bulk").events == {"total": 30, "already_delivered": 12, "accepted": 18}
    assert box.ids(STORE) == ids


def test_a_sandbox_that_takes_only_the_secrets_it_was_given(lone_shop):
    shop = lone_shop
    file = shop.write("secrets", "this-one\n\n  and-this \n")
    process = shop.start("sandbox", "--port", "0", "--secret-file", file, stderr=subprocess.DEVNULL)
    base, page = (process.stdout.readline().split()[-1] for _ in range(2))
    assert base == f"{page}v2.2"
    event = {"eventName": "Order Placed", "customer": {"email": "ada@example.com"}}
    for secret, status in (("this-one", 202), ("and-this", 202), ("another", 401)):
        headers = {"Authorization": f"Bearer {secret}"}
        assert httpx.post(f"{base}/stores/s1/events", json=event, headers=headers).status_code == status
    process.send_signal(signal.SIGINT)
    finish(process)
    shop.write("secrets", "\n")
    assert "holds no secret" in shop.do("sandbox", "--secret-file", file, status=2).err
    assert "can't read none" in shop.do("sandbox", "--secret-file", "none", status=2).err


def test_nobody_listens(lone_shop):
    shop = lone_shop
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        shop.env["REDO_BASE_URL"] = f"http://127.0.0.1:{taken.getsockname()[1]}"
        shop.orders(50)
        shop.mapping()
        run = shop.deliver("--limit", "2", status=75)
    assert run.events == {"total": 50, "pending": 50}
    assert run.summary["requests"] <= 10
    assert "run" in run.done.out.splitlines()[-1].lower()


@pytest.mark.parametrize(
    ("environment", "words", "message"),
    [
        ({}, ("--base-url", "http://example.com"), "not encrypted"),
        ({"REDO_BASE_URL": "https://me:hush-hush@example.com/"}, (), "user or password"),
        ({"REDO_API_SECRET": ""}, (), "no secret"),
        ({"REDO_API_SECRET": "", "REDO_API_SECRET_FILE": "missing"}, (), "missing"),
        ({}, ("--store", "../../x"), "store id"),
    ],
)
def test_settings_that_cannot_be(lone_shop, environment, words, message):
    shop = lone_shop
    shop.env |= environment
    shop.orders(3)
    shop.mapping()
    done = shop.do("run", "orders.yaml", *words, status=78)
    assert message in done.err
    assert done.out == ""
    assert "hush-hush" not in done.said


def test_no_store_is_given(shop, box):
    shop.orders(3)
    shop.mapping(delivery={"store": ...})
    assert "no store" in shop.do("run", "orders.yaml", status=78).err
    shop.env["REDO_STORE_ID"] = "from-the-environment"
    shop.deliver("--endpoint", "bulk")
    assert len(box.ids("from-the-environment")) == 3


def test_the_secret_is_nowhere_else_than_on_the_wire(shop, start):
    """What runs, is refused, breaks off or is asked for: `do` looks at what each command says."""
    box = start(secrets=frozenset({SECRET}))
    shop.env["REDO_BASE_URL"] = box.base_url
    shop.orders(20)
    shop.write("broken.csv", "order_id\n1\n")
    shop.mapping()
    shop.mapping("broken.yaml", "broken.csv")
    for words in (
        ("--debug", "run", "orders.yaml", "--json"),
        ("--debug", "run", "broken.yaml"),
        ("--debug", "run", "orders.yaml", "--store", "un known"),
        ("status", "orders.yaml", "--json"),
        ("preview", "orders.yaml", "--curl"),
    ):
        shop.do(*words, status=None)
    files = [path for path in shop.state.rglob("*") if path.is_file()]
    assert {"ledger.db", "summary.json", "report.html"} <= {path.name for path in files}
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path


def test_what_holds_customers_is_for_its_owner_alone(shop):
    shop.write("orders.csv", "order_id,at,email,total,note\n1,2024-01-01,a@example.com,1,\n2,never,b@example.com,1,\n")
    shop.mapping()
    run = shop.deliver(status=3)
    paths = [shop.state, *shop.state.rglob("*")]
    assert {"rejected.csv", "report.html", "summary.json"} <= {path.name for path in paths}
    for path in paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert json.loads((run.folder / "summary.json").read_text())["problems"] == {"not_a_time": 1}
