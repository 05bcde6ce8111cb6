"""What goes to stdout and to stderr, who is asked, and what happens when nobody reads it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from backfill.cli.sandbox import _places
from tests.end_to_end.support import Run, Shop, eventually, finish


@pytest.fixture
def small(shop) -> Shop:
    """A shop with 30 orders and one bad row."""
    shop.orders(30)
    with (shop.folder / "orders.csv").open("a") as file:
        file.write("30,never,c30@example.com,1,\n")
    shop.mapping(delivery={"endpoint": "bulk"})
    return shop


def test_json_lines(small):
    run = small.deliver("--json", status=3)
    lines = [json.loads(line) for line in run.done.out.splitlines()]
    assert all(isinstance(line["type"], str) for line in lines)
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    assert times == sorted(times)
    assert all(line["time"].endswith("Z") for line in lines)
    last = lines.pop()
    del last["time"]
    assert (last.pop("type"), last.pop("folder")) == ("summary", str(run.folder))
    assert last == run.summary
    (checked,) = [line for line in lines if line["type"] == "checked"]
    assert checked["events"]["ready"] == 30
    # What it asks or tells a person goes elsewhere.
    assert "{" not in run.done.err


def test_json_lines_of_check_status_and_what_fails(small):
    lines = small.do("check", "orders.yaml", "--json", status=3).out.splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["checked", "check"]
    told = json.loads(lines[-1])
    assert told["problems"][0]["examples"][0]["place"].startswith("orders.csv:")
    assert told["problems"][0]["fix"]
    assert json.loads(small.do("status", "orders.yaml", "--json").out)["stores"] == []
    done = small.do("run", "missing.yaml", "--json", status=78)
    (error,) = [json.loads(line) for line in done.out.splitlines()]
    assert (error["type"], error["exit"]) == ("error", 78)
    assert f"{error['message']}\n{error['hint']}" == done.err.strip()
    # A run that had begun tells its error before its summary.
    small.mapping(delivery={"endpoint": "bulk", "flows": ...})
    run = small.deliver("--json", status=2)
    error, last = [json.loads(line) for line in run.done.out.splitlines()][-2:]
    assert (error["type"], error["exit"], last["type"]) == ("error", 2, "summary")
    assert error["message"] == last["stopped_by"]


def test_quiet(small):
    run = small.deliver("--quiet", status=3)
    assert run.done.err == ""
    assert len(run.done.out.splitlines()) <= 6
    assert "\x1b" not in run.done.out
    assert "\r" not in run.done.out


def hear(master: int, heard: list[bytes]) -> bytes:
    try:
        heard.append(os.read(master, 4096))
    except OSError:  # the other end has closed
        heard.append(b"")
    return b"".join(heard)


@pytest.mark.parametrize("answer", ["n", "y"])
def test_a_terminal_is_asked(small, box, answer):
    small.mapping(delivery={"endpoint": "bulk", "flows": ...})
    master, slave = pty.openpty()
    try:
        process = small.start("run", "orders.yaml", stdin=slave, stderr=slave)
        os.close(slave)
        heard: list[bytes] = []
        eventually(lambda: b"Send them?" in hear(master, heard), "a question", process)
        assert box.summary().requests == 0
        os.write(master, f"{answer}\n".encode())
        while hear(master, heard) and heard[-1]:
            pass
        done = finish(process, 3 if answer == "y" else 2)
    finally:
        os.close(master)
    said = b"".join(heard).decode()
    assert "Order Placed" in said
    assert "30 events" in said
    if answer == "y":
        assert box.summary().stored == 30
        (folder,) = small.run_folders()
        Run.read(folder, done)
    else:
        assert box.summary().requests == 0
        assert "--yes" in said


def test_without_a_terminal_nobody_can_agree(small, box):
    small.mapping(delivery={"endpoint": "bulk", "flows": ...})
    for words in ((), ("--json",)):
        assert "--yes" in small.do("run", "orders.yaml", *words, status=2).err
    assert box.summary().requests == 0
    small.deliver("--yes", status=3)
    assert box.summary().stored == 30
    # Nothing is left to agree to.
    small.deliver(status=3)


@pytest.mark.parametrize(
    ("how", "streams", "words"),
    [
        ("closed", ["stdout", "stderr"], ()),
        ("closed", ["stderr"], ("--json",)),
        ("full", ["stdout"], ()),
        ("full", ["stderr"], ()),
        ("full", ["stdout", "stderr"], ()),
        ("full", ["stdout"], ("--json",)),
        ("nobody reads", ["stdout", "stderr"], ()),
        ("nobody reads", ["stdout"], ("--json",)),
    ],
)
def test_nobody_reads(small, box, how, streams, words):
    """The run goes on, and its status says how it ended."""
    if how == "closed":
        numbers = [{"stdout": 1, "stderr": 2}[one] for one in streams]
        process = small.start("run", "orders.yaml", *words, preexec_fn=lambda: [os.close(n) for n in numbers])
    elif how == "full":
        with Path("/dev/full").open("w") as full:
            process = small.start("run", "orders.yaml", *words, **dict.fromkeys(streams, full))
    else:
        read, write = os.pipe()
        os.close(read)
        process = small.start("run", "orders.yaml", *words, **dict.fromkeys(streams, write))
        os.close(write)
    done = finish(process, 3)
    assert box.summary().stored == 30
    (folder,) = small.run_folders()
    Run.read(folder, done)


def test_nobody_reads_what_is_wrong(small):
    with Path("/dev/full").open("w") as full:
        finish(small.start("run", "missing.yaml", stderr=full), 78)
    read, write = os.pipe()
    os.close(read)
    process = small.start("check", "orders.yaml", stdout=write)
    os.close(write)
    finish(process, 3)


def test_the_sandbox_command_listens_until_it_is_stopped(lone_shop):
    shop = lone_shop
    process = shop.start("sandbox", "--port", "0", stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("base URL: http://127.0.0.1:")
    shop.env["REDO_BASE_URL"] = line.split()[-1]
    shop.orders(10)
    shop.mapping(delivery={"endpoint": "bulk"})
    assert shop.deliver().events == {"total": 10, "accepted": 10}
    process.terminate()
    finish(process, None)
    assert process.returncode in {0, 143}


def test_faults_are_explained(lone_shop):
    told = lone_shop.do("sandbox", "--faults", "help").out
    assert "  503=2%                  503, problem details\n" in told
    assert "unauthorized@200" in told


def test_a_person_is_told_the_page_first():
    base = "http://127.0.0.1:8787/v2.2"
    assert _places(base, person=True) == ["page:     http://127.0.0.1:8787/", f"base URL: {base}"]
    assert _places(base, person=False)[0] == f"base URL: {base}"
