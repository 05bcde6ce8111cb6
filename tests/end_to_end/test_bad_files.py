"""A bad file among good ones costs itself: the others are delivered, and the next run brings what was mended."""

from __future__ import annotations

import gzip

import pytest

from tests.end_to_end.support import STORE

HEADER = "order_id,at,email,total,note\n"


def row(number: int, note: str = "n") -> str:
    return f"{number},2024-01-02T10:00:00Z,c{number}@example.com,1.50,{note}\n"


# More than a block of the reader: the rest is missed when some of the file has been read.
PAD = "x" * 400

BAD = {
    "quote.csv": (HEADER + row(100) + row(101, '"never closed') + row(102)).encode(),
    "cut.csv.gz": gzip.compress((HEADER + "".join(row(i, PAD) for i in range(100, 9_000))).encode())[:-2_000],
    "no.parquet": b"PAR1 and nothing else",
    "zip.csv": b"PK\x03\x04" + bytes(100),
    "page.csv": b"<!DOCTYPE html>\n<h1>Your session has expired</h1>\n<p>Sign in, please</p>\n",
    "zeros.csv": bytes(3_000),
}
GOOD = {name: (HEADER + row(100) + row(101) + row(102)).encode() for name in ("quote.csv", "zip.csv")}
GOOD["cut.csv.gz"] = gzip.compress((HEADER + "".join(row(i, PAD) for i in range(100, 9_000))).encode())


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("cut.csv.gz", "first"),
        ("quote.csv", "first"),
        ("no.parquet", "middle"),
        ("zip.csv", "last"),
        ("page.csv", "first"),
        ("zeros.csv", "last"),
    ],
)
def test_the_others_are_delivered(shop, box, name, place):
    prefix = {"first": "a", "middle": "m", "last": "z"}[place]
    shop.folder.joinpath("in").mkdir()
    bad = shop.write(f"in/{prefix}_{name}", BAD[name])
    # One that is empty as well, before all others: places are counted in files, not in files that were opened.
    shop.write("in/0.csv", "")
    ids = shop.orders(40, "in/b.csv") | shop.orders(40, "in/n.csv", start=40)
    shop.write("in/p.csv", HEADER + row(80) + "81,yesterday,c@example.com,1,n\n")
    shop.mapping(files="in", delivery={"endpoint": "bulk"})

    done = shop.do("check", "orders.yaml", status=65)
    assert f"{prefix}_{name}" in done.err
    assert "in/p.csv:3" in done.out
    run = shop.deliver(status=65)
    assert f"{prefix}_{name}" in run.done.err
    assert "run again" in run.done.err
    assert [one["name"] for one in run.summary["unread"]] == [f"in/{prefix}_{name}"]
    assert box.ids(STORE) == ids | {"order:80"}
    held = run.events.get("pending", 0)
    assert run.events == {"total": 82 + held, "accepted": 81, "invalid": 1} | ({"pending": held} if held else {})
    assert (held > 0) == (name == "cut.csv.gz")

    if name in GOOD:
        bad.write_bytes(GOOD[name])
        run = shop.deliver(status=3)
        fresh = {f"order:{i}" for i in (range(100, 9_000) if name == "cut.csv.gz" else range(100, 103))}
        assert box.ids(STORE) == ids | fresh | {"order:80"}
        assert run.events["accepted"] == len(fresh)
    assert box.summary().duplicates == 0


def test_a_twin_in_a_good_file_is_sent_and_that_of_the_bad_file_is_a_duplicate_later(shop, box):
    shop.folder.joinpath("in").mkdir()
    bad = shop.write("in/a.csv", HEADER + row(7) + row(8) + '9,"open\n')
    shop.write("in/b.csv", HEADER + row(7) + row(10))
    shop.mapping(files="in")
    assert shop.deliver(status=65).events == {"total": 2, "accepted": 2}
    assert box.ids(STORE) == {"order:7", "order:10"}
    bad.write_text(HEADER + row(7) + row(8))
    assert shop.deliver().events == {"total": 4, "accepted": 1, "duplicate": 1, "already_delivered": 2}
    assert box.ids(STORE) == {"order:7", "order:8", "order:10"}


@pytest.mark.parametrize("hidden", ["opened", "unopened"])
def test_groups_beside_a_bad_file_wait(shop, box, hidden):
    """An order's lines may go on in the file that can't be read: what is left is not the order."""
    shop.folder.joinpath("in").mkdir()

    def line(order: str, qty: int) -> str:
        return f"{order},2024-01-02T10:00:00Z,{order}@example.com,{qty},n\n"

    shop.write("in/a.csv", HEADER + line("one", 1) + line("two", 2) + line("two", 3))
    broken = (
        HEADER + line("two", 4) + line("three", 5) + line("four", 6) + '"open\n' if hidden == "opened" else "PK\3\4"
    )
    bad = shop.write("in/b.csv", broken)
    shop.write("in/c.csv", HEADER + line("four", 7) + line("five", 8) + line("six", 9))
    shop.mapping(
        files="in",
        source={"group_by": ["order_id"]},
        event={"value": {"sql": "SUM(CAST(total AS INT))"}, "data": ...},
    )
    shop.deliver(status=65)
    # Whose lines surely all stand in files that were read; "four" or "five" is the first behind the gap.
    assert box.ids(STORE) in ({"order:one", "order:five", "order:six"}, {"order:one", "order:six"})
    bad.write_text(HEADER + line("two", 4) + line("three", 5) + line("four", 6))
    shop.deliver()
    values = {one.unique_id: one.event["value"] for one in box.events()}
    assert values == {
        f"order:{name}": value
        for name, value in zip(("one", "two", "three", "four", "five", "six"), (1, 9, 5, 13, 8, 9), strict=True)
    }
    assert box.summary().duplicates == 0


def test_gathered_groups_need_every_file(shop, box):
    shop.folder.joinpath("in").mkdir()
    shop.write("in/a.csv", HEADER + row(1))
    shop.write("in/b.csv", HEADER + row(2) + '"open\n')
    shop.mapping(files="in", source={"group_by": {"columns": ["order_id"], "adjacent": False}}, event={"data": ...})
    run = shop.deliver(status=65)
    assert "in/b.csv:3" in run.done.err
    assert box.summary().stored == 0


def test_all_files_are_bad(shop, box):
    shop.folder.joinpath("in").mkdir()
    for name, content in BAD.items():
        shop.write(f"in/{name}", content)
    shop.mapping(files="in")
    done = shop.do("run", "orders.yaml", status=65)
    assert all(name in done.err for name in BAD)
    assert box.summary().stored == 0


def test_what_was_delivered_or_refused_stays_so(shop, box):
    """Of a file that was good in an earlier run, and is bad in this one."""
    shop.folder.joinpath("in").mkdir()
    whole = HEADER + "".join(row(i, PAD) for i in range(9_000))
    shop.write("in/a.csv", whole)
    shop.write("in/b.csv", HEADER + row(3, PAD) + row(9_001))
    shop.mapping(files="in", source={}, delivery={"endpoint": "bulk"})
    assert shop.deliver("--rate", "1000").events == {"total": 9_002, "accepted": 9_001, "duplicate": 1}
    changed = whole.replace("c3@example.com,1.50", "c3@example.com,2.50")
    shop.write("in/a.csv", changed + row(9_002, PAD) + '"open\n')
    run = shop.deliver("--rate", "1000", status=65)
    # The changed row of the bad file makes no conflict of the good file's.
    assert run.events.get("invalid", 0) == 0
    assert run.summary["requests"] == 0
    assert "can't be read, and is not sent: “in/a.csv”" in run.done.err
    # Why is told once, at the end.
    assert run.done.said.count("in/a.csv:9003") == 1
    assert box.summary().duplicates == 0


def test_the_figures_before_sending_are_of_what_is_sent(shop, box):
    shop.folder.joinpath("in").mkdir()
    shop.write("in/a.csv", (HEADER + "".join(row(i, PAD) for i in range(9_000))).replace("2024", "2025") + '"open\n')
    shop.write("in/b.csv", HEADER + row(9_001) + row(9_002))
    shop.mapping(files="in")
    run = shop.deliver("--limit", "1", status=65)
    assert "Order Placed: 2 events, 2024-01-02 to 2024-01-02\n" in run.done.err
    assert "1 left out by --limit" in run.done.out
    assert "1 file can't be read" in run.done.out


def test_twins_of_a_bad_file_that_were_delivered(shop, box):
    shop.folder.joinpath("in").mkdir()
    whole = HEADER + "".join(row(i % 3_000, PAD) for i in range(9_000))
    shop.write("in/a.csv", whole)
    shop.write("in/b.csv", HEADER + row(1))
    event = {"uniqueId": {"hash": "*", "occurrence": True}}
    shop.mapping(files="in", event=event, delivery={"endpoint": "bulk"})
    shop.deliver("--rate", "1000")
    shop.write("in/a.csv", whole + '"open\n')
    run = shop.deliver("--rate", "1000", status=65)
    assert run.events["already_delivered"] > 3_000
    assert run.events.get("pending", 0) == 0
    assert box.summary().duplicates == 0


def test_folders_of_others_stay(shop, box):
    state = shop.folder / "shared"
    for name in ("gather-mine", "runs/2024/gather-mine"):
        (state / name).mkdir(parents=True)
        (state / name / "file.txt").write_text("precious")
    left = state / "runs/20240101T000000Z-abcdef/gather-x"
    left.mkdir(parents=True)
    shop.orders(3)
    shop.mapping(source={"group_by": {"columns": ["order_id"], "adjacent": False}}, event={"data": ...})
    shop.do("run", "orders.yaml", "--state", state)
    assert (state / "gather-mine/file.txt").exists()
    assert (state / "runs/2024/gather-mine/file.txt").exists()
    assert not left.exists()
    assert list(state.glob("runs/*Z-*/gather*")) == []
