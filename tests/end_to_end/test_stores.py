"""One mapping for many stores: each is sent to as if it were alone, and none waits for another's trouble."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from backfill.errors import StorageError
from backfill.ledger import Ledger
from tests.end_to_end.support import Run, balanced, begun, eventually, finish, kill

PATHS = "exports/{store}/orders_*.csv"
WORDS = ("--rate", "5000", "--concurrency", "4")


def exports(shop, stores, count=20, **more):
    """`exports/STORE/orders_1.csv` for each; the ids of each store's events."""
    found = {}
    for at, store in enumerate(stores):
        (shop.folder / "exports" / store).mkdir(parents=True, exist_ok=True)
        found[store] = shop.orders(count, f"exports/{store}/orders_1.csv", start=1000 * at, **more)
    return found


def column(shop, rows, name="all.csv"):
    """One export whose column `shop` tells the store: (shop, order number) each."""
    lines = ["shop,order_id,at,email,total,note"]
    lines += [
        f"{one},{i},2024-01-{i % 28 + 1:02}T10:00:{i % 60:02}Z,c{i}@example.com,{i % 90}.50,n{i}" for one, i in rows
    ]
    return shop.write(name, "\n".join(lines) + "\n")


def whole(run):
    """The summary over all, after a look at whether it is the sum of its parts."""
    summary = run.summary
    parts = [balanced(one) for one in summary["stores"].values()]
    for key in ("rows", "events"):
        for name, count in summary[key].items():
            rest = summary["without_store"][key][name]
            assert count == rest + sum(one[key][name] for one in parts), (key, name)
    assert summary["requests"] == sum(one["requests"] for one in parts)
    return {store: one["exit"] for store, one in summary["stores"].items()}


def test_stores_by_path(shop, box):
    ids = exports(shop, ["nord", "sued", "west"])
    shop.mapping(files=PATHS, delivery={"store": "{store}"})
    run = shop.deliver(*WORDS)
    assert whole(run) == {"nord": 0, "sued": 0, "west": 0}
    assert run.events == {"total": 60, "accepted": 60}
    assert {store: box.ids(store) for store in ids} == ids
    assert "3 of 3 stores done: 60 events accepted." in run.done.out
    assert "  nord: exit 0, 20 accepted" in run.done.out
    page = (run.folder / "report.html").read_text()
    assert 'href="stores/nord/report.html"' in page
    for store in ids:
        own = balanced(json.loads((run.folder / "stores" / store / "summary.json").read_text()))
        assert own["store"] == store
        assert own["events"]["accepted"] == 20
        assert (run.folder / "stores" / store / "report.html").exists()

    again = shop.deliver(*WORDS)
    assert again.events == {"total": 60, "already_delivered": 60}
    assert again.summary["requests"] == 0
    assert "3 stores: exit 0" in shop.do("status", "orders.yaml").out
    assert shop.do("report", "orders.yaml").out == f"{again.folder / 'report.html'}\n"


def test_one_fails_and_the_others_go_on(lone_shop, start):
    shop = lone_shop
    box = start(secrets=frozenset(f"secret-{name}" for name in ("a", "c", "d", "e")))
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = exports(shop, ["a", "b", "c", "d", "e", "süd"])
    shop.write("exports/c/orders_2.csv", b"\x1f\x8b\x08 this is no gzip")
    del shop.env["REDO_API_SECRET"]
    shop.env |= {f"REDO_API_SECRET_{name.upper()}": f"secret-{name}" for name in "abce"}
    shop.mapping(files=PATHS, delivery={"store": "{store}", "secrets": {"env": "REDO_API_SECRET_{store}"}})
    run = shop.deliver(*WORDS, status=78)
    assert whole(run) == {"a": 0, "b": 77, "c": 65, "d": 78, "e": 0, "süd": 78}
    assert [box.ids(one) for one in "abcde"] == [ids["a"], set(), ids["c"], set(), ids["e"]]
    assert "REDO_API_SECRET_D is not set" in run.done.err
    assert "“süd” is no store's id" in run.done.err
    assert "orders_2.csv" in run.done.err
    assert run.summary["stores"]["d"]["events"]["pending"] == 20
    assert "secret-" not in (run.folder / "summary.json").read_text()
    told = shop.do("status", "orders.yaml").out
    assert "\n      b: exit 77: POST http" in told
    assert "\n      c: exit 65: " in told
    assert "\n      d: exit 78: " in told

    shop.env |= {"REDO_API_SECRET_D": "secret-d", "REDO_API_SECRET_B": "secret-a"}
    (shop.folder / "exports/c/orders_2.csv").unlink()
    shop.orders(5, "exports/c/orders_2.csv", start=2900)
    rest = shop.deliver(*WORDS, status=78)
    assert whole(rest) == {"a": 0, "b": 0, "c": 0, "d": 0, "e": 0, "süd": 78}
    assert rest.events == {"total": 105, "already_delivered": 60, "accepted": 45}
    assert box.summary().duplicates == 0


def test_many_to_which_nobody_agreed(shop, box):
    exports(shop, ["nord", "sued"])
    shop.mapping(files=PATHS, delivery={"store": "{store}", "flows": ...})
    done = shop.do("run", "orders.yaml", status=2)
    assert "\nnext: Agree, and run the same command again. 40 events left." in done.out
    told = shop.do("status", "orders.yaml").out
    assert "nord, sued: exit 2: 40 events would be sent, and nobody agreed" in told
    assert told.count("nobody agreed") == 1


def test_secrets_in_files(lone_shop, start):
    shop = lone_shop
    box = start(secrets=frozenset({"one", "two"}))
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = exports(shop, ["nord", "sued"])
    (shop.folder / "secrets").mkdir()
    for name, text in (("nord", "one\n"), ("sued", "two")):
        shop.write(f"secrets/{name}", text).chmod(0o600 if name == "nord" else 0o644)
    stores = {"column": "store", "map": {"nord": "N1", "sued": "S1"}}
    shop.mapping(files=PATHS, delivery={"store": stores, "secrets": {"file": "secrets/{store}"}})
    run = shop.deliver(*WORDS)
    assert whole(run) == {"N1": 0, "S1": 0}
    assert {box_id: box.ids(box_id) for box_id in ("N1", "S1")} == {"N1": ids["nord"], "S1": ids["sued"]}
    assert "others can read the secret in secrets/sued: chmod 600 secrets/sued" in run.done.err
    assert "secrets/nord" not in run.done.err
    # One of them, by either name.
    for name in ("nord", "N1"):
        assert whole(shop.deliver("--store", name, *WORDS)) == {"N1": 0}
    done = shop.do("run", "orders.yaml", "--store", "nrod", status=78)
    assert "nothing for the store “nrod”" in done.err
    assert "“nord” and “sued”" in done.err


def test_two_stores_never_share_a_secret(shop):
    exports(shop, ["a-b", "a_b"])
    shop.mapping(files=PATHS, delivery={"store": "{store}", "secrets": {"env": "KEY_{store}"}})
    run = shop.deliver(status=78)
    assert "the stores a-b and a_b would have one secret: KEY_A_B" in run.done.err
    assert run.summary["requests"] == 0


def test_stores_by_column(shop, box):
    column(shop, [(one, i) for i in range(30) for one in ("nord", "sued", "", "ost")])
    stores = {"column": "shop", "map": {"nord": "N1", "sued": "S1"}}
    shop.mapping(files="all.csv", delivery={"store": stores})
    run = shop.deliver(*WORDS, status=3)
    assert whole(run) == {"N1": 0, "S1": 0}
    assert run.summary["problems"] == {"store_missing": 60}
    assert run.events == {"total": 120, "invalid": 60, "accepted": 60}
    assert box.ids("N1") == box.ids("S1") == {f"order:{i}" for i in range(30)}
    rows = shop.rejected(run.folder)
    assert (rows[0]["file"], rows[0]["row"], rows[0]["problem"]) == ("all.csv", "4", "store_missing")
    assert "shop is empty" in rows[0]["detail"]
    assert '""ost"" is not in the map' in (run.folder / "rejected.csv").read_text()

    # What was rejected comes back as it is told to: mended, and imported.
    path = run.folder / "rejected.csv"
    text = path.read_text().replace("\n,", "\nnord,").replace("\nost,", "\nsued,")
    shop.write("mended.csv", text.replace(",1,2024", ",101,2024"))
    mended = shop.deliver("--files", "mended.csv", *WORDS)
    assert whole(mended) == {"N1": 0, "S1": 0}
    assert mended.events == {"total": 60, "already_delivered": 58, "accepted": 2}


def test_rejected_rows_of_paths_come_back_to_their_stores(shop, box):
    exports(shop, ["nord", "sued"], 5)
    for store in ("nord", "sued"):
        path = shop.folder / "exports" / store / "orders_1.csv"
        path.write_text(path.read_text() + f"{77},2024-13-01T10:00:00Z,c@example.com,1.00,{store}\n")
    shop.mapping(files=PATHS, delivery={"store": "{store}"})
    run = shop.deliver(*WORDS, status=3)
    assert whole(run) == {"nord": 3, "sued": 3}
    assert [row["store"] for row in shop.rejected(run.folder)] == ["nord", "sued"]
    shop.write("mended.csv", (run.folder / "rejected.csv").read_text().replace("2024-13-01", "2024-12-01"))
    mended = shop.deliver("--files", "mended.csv", *WORDS)
    assert whole(mended) == {"nord": 0, "sued": 0}
    assert {"order:77"} < box.ids("nord")
    assert {"order:77"} < box.ids("sued")


@pytest.mark.parametrize("unique_id", ["order:{order_id}", {"hash": "*"}, {"hash": "*", "occurrence": True}])
def test_ids_are_those_of_a_run_of_one_store(shop, box, unique_id):
    exports(shop, ["nord", "sued"], 12)
    event = {"uniqueId": unique_id}
    shop.mapping("nord.yaml", files="exports/nord/orders_*.csv", event=event, delivery={"store": "N1"})
    shop.deliver(*WORDS, mapping="nord.yaml")
    stores = {"column": "store", "map": {"nord": "N1", "sued": "S1"}}
    shop.mapping(files=PATHS, event=event, delivery={"store": stores})
    run = shop.deliver(*WORDS)
    assert run.events == {"total": 24, "already_delivered": 12, "accepted": 12}
    # By a column of the rows, too; that one is a part of the row, and so of a hash of all of it.
    if unique_id != "order:{order_id}":
        return
    column(shop, [("nord" if i < 1000 else "sued", i) for i in [*range(12), *range(1000, 1012)]])
    stores = {"column": "shop", "map": {"nord": "N1", "sued": "S1"}}
    shop.mapping("column.yaml", files="all.csv", delivery={"store": stores})
    totals = whole_events(shop.deliver(*WORDS, mapping="column.yaml"))
    assert totals["already_delivered"] == 24
    assert box.summary().duplicates == 0


def whole_events(run):
    whole(run)
    return run.summary["events"]


def test_killed_and_gone_on(shop, start):
    box = start("latency=4±4")
    shop.env["REDO_BASE_URL"] = box.base_url
    stores = [f"s{i}" for i in range(5)]
    ids = exports(shop, stores, 200)
    shop.mapping(files=PATHS, delivery={"store": "{store}"})
    for goal in (150, 400):
        process = shop.start("run", "orders.yaml", *WORDS)
        eventually(lambda: box.summary().requests > goal, f"{goal} requests", process)  # noqa: B023
        assert kill(process)
    last = shop.deliver(*WORDS)
    assert whole(last) == dict.fromkeys(stores, 0)
    assert last.events["accepted"] + last.events["already_delivered"] == 1000
    assert {store: box.ids(store) for store in stores} == ids
    assert box.summary().duplicates <= 2 * 2 * 4 * len(stores)
    assert shop.deliver(*WORDS).summary["requests"] == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(shop, start, number, status):
    box = start("latency=60±40")
    shop.env["REDO_BASE_URL"] = box.base_url
    exports(shop, ["nord", "sued", "west"], 200)
    shop.mapping(files=PATHS, delivery={"store": "{store}", "stores_at_once": 2})
    process = shop.start("run", "orders.yaml", *WORDS)
    eventually(lambda: box.summary().requests > 40, "some requests", process)
    process.send_signal(number)
    done = finish(process, status)
    (folder,) = shop.run_folders()
    run = Run.read(folder, done)
    assert set(whole(run).values()) == {status}
    assert 40 < run.events["accepted"] == box.summary().stored < 600
    rest = shop.deliver("--endpoint", "bulk")
    assert rest.events["accepted"] + run.events["accepted"] == 600
    assert box.summary().duplicates == 0


def test_each_at_its_own_rate(shop, start):
    box = start(rate=100.0)
    shop.env["REDO_BASE_URL"] = box.base_url
    exports(shop, ["nord", "sued", "west"], 90)
    shop.mapping(files=PATHS, delivery={"store": "{store}", "rate": 50})
    run = shop.deliver()
    assert whole(run) == dict.fromkeys(["nord", "sued", "west"], 0)
    times = [one.at for one in box.events(limit=1000)]
    # One after the other they would take 5 s.
    assert 1.4 < max(times) - min(times) < 3.4
    assert all(peak <= 62 for peak in box.summary().busiest_second.values())
    assert run.summary["rate_limited"] == 0


@pytest.mark.slow
def test_a_hundred_stores(shop, box):
    stores = [f"s{i:03}" for i in range(100)]
    exports(shop, stores, 5)
    shop.mapping(files=PATHS, delivery={"store": "{store}"})
    began = time.monotonic()
    run = shop.deliver(*WORDS)
    took = time.monotonic() - began
    assert set(whole(run).values()) == {0}
    assert run.events == {"total": 500, "accepted": 500}
    print(f"100 stores of 5 events in {took:.1f} s")
    assert took < 60
    with Ledger.read(shop.state) as ledger:
        assert len(ledger.runs(-1)) == 100


def test_lines_for_programs(shop):
    exports(shop, ["nord", "sued"], 3)
    shop.mapping(files=PATHS, delivery={"store": "{store}"})
    run = shop.deliver("--json", *WORDS)
    lines = [json.loads(line) for line in run.done.out.splitlines()]
    assert [line["store"] for line in lines if line["type"] == "ready"] == ["nord", "sued"]
    assert [(line["store"], line["exit"]) for line in lines if line["type"] == "store"] == [("nord", 0), ("sued", 0)]
    assert lines[-1]["type"] == "summary"
    assert lines[-1]["events"]["accepted"] == 6
    sending = [line["stores"] for line in lines if line["type"] == "sending"]
    assert all("of 2 stores done" in words for words in sending)


def test_nobody_agrees(shop, box):
    exports(shop, ["nord", "sued"], 3)
    shop.mapping(files=PATHS, delivery={"store": "{store}", "flows": ...})
    done = shop.do("run", "orders.yaml", status=2)
    assert "To 2 stores at http://127.0.0.1" in done.err
    assert "6 events in 6 requests" in done.err
    assert "6 events would be sent, and nobody agreed" in done.err
    assert box.summary().requests == 0


@pytest.mark.parametrize("adjacent", [True, False])
def test_groups_are_of_one_store(shop, box, adjacent):
    lines = ["shop,order_id,at,email,total,note"]
    for i in range(4):
        for one in ("N1", "S1"):
            lines += [f"{one},{i},2024-01-01T10:00:00Z,c{i}@example.com,{n}.50,n{n}" for n in range(3)]
    lines[5] += ",too,long"
    shop.write("all.csv", "\n".join(lines) + "\n")
    shop.mapping(
        files="all.csv",
        source={"group_by": {"columns": ["order_id"], "adjacent": adjacent}},
        event={"value": {"sql": "SUM(CAST(total AS DOUBLE))"}},
        delivery={"store": "{shop}"},
    )
    run = shop.deliver(*WORDS, status=3)
    # The row that was lost may be of either store's order 0.
    assert run.summary["without_store"]["rows"]["unreadable"] == 1
    assert box.ids("S1") <= {f"order:{i}" for i in range(4)}
    assert "order:0" not in box.ids("S1")
    assert {"order:1", "order:2", "order:3"} <= box.ids("N1") & box.ids("S1")


def test_what_is_new_since_the_last_run(shop, box):
    stores = {"column": "shop", "map": {"nord": "N1", "sued": "S1"}}
    shop.mapping(files="all.csv", source={"since": {"column": "at", "lookback": "1d"}}, delivery={"store": stores})
    column(shop, [("nord", 1), ("sued", 2)])
    shop.deliver(*WORDS)
    column(shop, [("nord", 1), ("sued", 2), ("nord", 25), ("sued", 20)])
    run = shop.deliver(*WORDS)
    assert run.events["accepted"] == 2
    third = shop.deliver(*WORDS)
    assert third.summary["rows"]["filtered"] == 2
    assert box.summary().duplicates == 0


def test_one_file_of_many_is_cut(shop, box):
    for name, at in (("a.csv", 0), ("c.csv", 40)):
        column(shop, [(one, i) for i in range(at, at + 10) for one in ("N1", "S1")], name)
    column(shop, [("N1", i) for i in range(20, 30)], "b.csv")
    path = shop.folder / "b.csv"
    path.write_text(path.read_text() + 'N1,99,"2024-01-01\n')
    shop.mapping(files=["a.csv", "b.csv", "c.csv"], delivery={"store": "{shop}"})
    run = shop.deliver(*WORDS, status=65)
    codes = whole(run)
    assert codes["S1"] == 0
    assert box.ids("S1") == {f"order:{i}" for i in [*range(10), *range(40, 50)]}
    assert not {f"order:{i}" for i in range(20, 30)} & box.ids("N1")


def test_few_rows_are_no_fault_where_files_are_unchanged(shop, box):
    exports(shop, ["N1", "S1"], 3)
    shop.mapping(files=PATHS, delivery={"store": "{store}"})
    assert "6 rows, and --min-rows asks for 7" in shop.deliver(*WORDS, "--min-rows", "7", status=65).done.err
    ago = time.time() - 86_400
    for path in (shop.folder / "exports").glob("*/*.csv"):
        os.utime(path, (ago, ago))
    shop.deliver(*WORDS, "--min-rows", "6")
    assert shop.deliver(*WORDS, "--min-rows", "6").events == {"total": 6, "already_delivered": 6}


def cut(shop, rows, name):
    """A file that can't be read to its end, which holds these rows before it."""
    column(shop, rows, name)
    path = shop.folder / name
    good = path.read_text()
    path.write_text(good + 'N1,99,"2024-01-01\n')
    return path, good


def test_rows_behind_a_cut_may_be_of_any_store(shop, box):
    """The mark of a store that has none before the cut must not pass those that may be behind it."""
    path, good = cut(shop, [("N1", 1)], "a.csv")
    column(shop, [("S1", 25)], "b.csv")
    since = {"since": {"column": "at", "lookback": "1d"}}
    shop.mapping(files=["a.csv", "b.csv"], source=since, delivery={"store": "{shop}"})
    assert whole(shop.deliver(*WORDS, status=65))["S1"] == 0
    path.write_text(good + "S1,2,2024-01-03T10:00:00Z,c2@example.com,1.50,n2\n")
    assert shop.deliver(*WORDS).events["accepted"] == 2
    assert box.ids("S1") == {"order:2", "order:25"}


def test_a_group_behind_a_cut_may_be_of_any_store(shop, box):
    path, good = cut(shop, [("N1", 1)], "a.csv")
    column(shop, [("S1", 2), ("S1", 3)], "b.csv")
    shop.mapping(
        files=["a.csv", "b.csv"],
        source={"group_by": ["order_id"]},
        event={"value": {"sql": "SUM(CAST(total AS DOUBLE))"}},
        delivery={"store": "{shop}"},
    )
    assert whole(shop.deliver(*WORDS, status=65))["S1"] == 65
    assert box.ids("S1") == {"order:3"}
    path.write_text(good + "S1,2,2024-01-03T10:00:02Z,c2@example.com,1.50,n2\n")
    assert "changed" not in shop.deliver(*WORDS).events
    assert box.ids("S1") == {"order:2", "order:3"}


def test_the_ledger_is_one_for_all(shop, box):
    """As many views as there are stores, over one connection and one lock."""
    exports(shop, ["nord", "sued"], 3)
    shop.mapping(files=PATHS, delivery={"store": "{store}"})
    shop.deliver(*WORDS)
    with Ledger.read(shop.state) as ledger:
        assert [one.store for one in ledger.targets()] == ["nord", "sued"]
        assert [sum(ledger.beside(one).totals().accepted.values()) for one in ledger.targets()] == [3, 3]
    assert box.summary().stored == 6


def test_check_and_preview(shop, box):
    exports(shop, ["nord", "sued"], 6)
    stores = {"column": "store", "map": {"nord": "N1"}}
    shop.mapping(files=PATHS, delivery={"store": stores})
    done = shop.do("check", "orders.yaml", status=78)
    assert "nord (N1): 6 events: 6 ready" in done.out
    assert "sued: can't be sent to: “sued” is not in the map of delivery.store" in done.out
    assert "/stores/N1/events" in shop.do("preview", "orders.yaml", "-n", "1", "--curl").out
    shop.deliver("--store", "nord", *WORDS)

    column(shop, [(one, i) for i in range(6) for one in ("N1", "S1", "")])
    shop.mapping(files="all.csv", delivery={"store": "{shop}"})
    done = shop.do("check", "orders.yaml", "--json", status=3)
    told = json.loads(done.out.splitlines()[-1])
    assert told["type"] == "check"
    assert {store: one["events"]["already_delivered"] for store, one in told["stores"].items()} == {"N1": 6, "S1": 0}
    assert told["events"]["total"] == 18
    assert told["problems"][0]["code"] == "store_missing"
    assert "1 x a row of no store" not in done.out
    assert box.summary().stored == 6


def test_a_folder_that_is_called_as_the_id_of_another(shop, box):
    ids = exports(shop, ["N1", "nord"], 3)
    shop.mapping(files=PATHS, delivery={"store": {"column": "store", "map": {"nord": "N1"}}})
    run = shop.deliver(*WORDS, status=78)
    assert whole(run) == {"N1 (no store)": 78, "N1": 0}
    assert box.ids("N1") == ids["nord"]


def test_metrics_of_each_store(shop):
    exports(shop, ["nord", "sued"], 3)
    shop.write("exports/sued/orders_2.csv", b"\x1f\x8b\x08 this is no gzip")
    shop.mapping(files=PATHS, delivery={"store": "{store}"})
    shop.deliver("--metrics-file", "o.prom", *WORDS, status=65)
    text = (shop.folder / "o.prom").read_text()
    assert 'backfill_exit_status{mapping="orders.yaml",store="nord"} 0\n' in text
    assert 'backfill_exit_status{mapping="orders.yaml",store="sued"} 65\n' in text
    assert 'backfill_events{mapping="orders.yaml",store="sued",outcome="accepted"} 3\n' in text
    assert text.count("# TYPE backfill_exit_status gauge\n") == 1
    success = 'backfill_last_success_timestamp_seconds{mapping="orders.yaml",store="nord"}'
    (first,) = [line for line in text.splitlines() if line.startswith(success)]
    shop.write("exports/nord/orders_2.csv", b"\x1f\x8b\x08 this is no gzip")
    shop.deliver("--metrics-file", "o.prom", *WORDS, status=65)
    assert first in (shop.folder / "o.prom").read_text().splitlines()


def test_schedule(shop):
    exports(shop, ["nord"], 3)
    shop.mapping(files=PATHS, delivery={"store": "{store}", "secrets": {"env": "KEY_{store}"}})
    done = shop.do("schedule", "orders.yaml", "--at", "02:00", "--as", "cron", status=78)
    assert "a scheduler has none of these variables" in done.err
    shop.mapping(files=PATHS, delivery={"store": "{store}", "secrets": {"file": "secrets/{store}"}})
    assert "run" in shop.do("schedule", "orders.yaml", "--at", "02:00", "--as", "cron").out


@pytest.mark.parametrize(
    ("delivery", "message"),
    [
        ({"store": "{store}-{note}"}, '"{store}-{note}": a store is one column and nothing else'),
        ({"store": {"map": {"a": "b"}}}, "delivery.store.column is missing"),
        ({"store": {"column": "shop"}}, 'no column "shop" in'),
        ({"store": {"column": "store", "map": {}}}, "delivery.store.map is empty"),
        ({"store": {"column": "store", "map": {"a": "b c"}}}, '"b c" is no store id'),
        ({"secrets": "abc"}, "delivery.secrets has to be an object"),
        ({"secrets": {"env": "SECRET"}}, "delivery.secrets.env has no {store}: all stores would have one secret"),
        ({"secrets": {"env": "A-{store}"}}, "is no name of environment variables"),
        ({"secrets": {"env": "A_{store}", "file": "s/{store}"}}, "secrets has to be one of env and file"),
        ({"store": "N1", "secrets": {"env": "A_{store}"}}, "secrets is for many stores"),
        ({"stores_at_once": 0}, "stores_at_once has to be a whole number from 1"),
        ({"store": "N1"}, "orders.yaml:2:10: {store} stands in source.files, and nothing reads it"),
        ({"store": None}, "{store} stands in source.files, and nothing reads it"),
    ],
)
def test_a_mapping_that_is_wrong(lone_shop, delivery, message):
    shop = lone_shop
    exports(shop, ["nord"], 2)
    shop.mapping(files=PATHS, delivery={"store": "{store}", **delivery})
    done = shop.do("check", "orders.yaml", status=78)
    assert message in done.err


def test_a_server_without_a_connection_for_one_store(lone_shop, start, monkeypatch):
    """Each store has a connection of its own there; who gets none ends for itself."""
    from backfill import Backfill

    box = start()
    ids = exports(lone_shop, ["nord", "sued"], 4)
    monkeypatch.setenv("REDO_API_SECRET", "secret")
    beside = Ledger.beside

    def full(ledger, target):
        if target.store == "sued":
            raise StorageError("beginning the run: too many clients already", hint="raise max_connections")
        return beside(ledger, target)

    monkeypatch.setattr(Ledger, "beside", full)
    orders = Backfill(lone_shop.mapping(files=PATHS, delivery={"store": "{store}"}))
    result = orders.run(base_url=box.base_url)
    assert {store: one["exit"] for store, one in result.summary["stores"].items()} == {"nord": 0, "sued": 74}
    assert result.status == 74
    assert box.ids("nord") == ids["nord"]
    monkeypatch.setattr(Ledger, "beside", beside)
    again = orders.run(base_url=box.base_url)
    assert again.status == 0
    assert again.summary["events"]["accepted"] == 4


def test_by_the_library(lone_shop, start, monkeypatch):
    from backfill import Backfill

    box = start()
    ids = exports(lone_shop, ["nord", "sued"], 4)
    monkeypatch.setenv("REDO_API_SECRET", "secret")
    orders = Backfill(lone_shop.mapping(files=PATHS, delivery={"store": "{store}"}))
    assert orders.check().events["total"] == 8
    result = orders.run(base_url=box.base_url)
    assert result.status == 0
    assert {store: one["events"]["accepted"] for store, one in result.summary["stores"].items()} == {
        "nord": 4,
        "sued": 4,
    }
    assert {store: box.ids(store) for store in ids} == ids
    assert "2 of 2 stores done" in str(result)
    assert len(orders.runs()) == 2


def test_interrupted_while_it_checks(shop, box):
    for at, store in enumerate(["nord", "sued", "west"]):
        (shop.folder / "exports" / store).mkdir(parents=True)
        shop.orders(40_000, f"exports/{store}/orders_1.csv", start=100_000 * at)
    shop.mapping(files=PATHS, delivery={"store": "{store}", "endpoint": "bulk"})
    process = shop.start("run", "orders.yaml", *WORDS)
    eventually(lambda: begun(shop), "a run in the ledger", process)
    process.send_signal(signal.SIGTERM)
    done = finish(process, 143)
    (folder,) = shop.run_folders()
    assert Run.read(folder, done).summary["requests"] == box.summary().requests == 0


def test_killed_with_the_rows_put_aside(shop, start):
    box = start("latency=4±4")
    shop.env["REDO_BASE_URL"] = box.base_url
    column(shop, [(f"s{i % 3}", i) for i in range(600)])
    shop.mapping(files="all.csv", delivery={"store": "{shop}"})
    process = shop.start("run", "orders.yaml", *WORDS)
    eventually(lambda: box.summary().requests > 150, "150 requests", process)
    assert kill(process)
    assert list(shop.state.glob("runs/*/gather-*/stores.arrow"))
    last = shop.deliver(*WORDS)
    assert whole(last) == dict.fromkeys(["s0", "s1", "s2"], 0)
    assert last.events["accepted"] + last.events["already_delivered"] == 600
    assert {box_id: len(box.ids(box_id)) for box_id in ("s0", "s1", "s2")} == {"s0": 200, "s1": 200, "s2": 200}
    assert box.summary().duplicates <= 2 * 4 * 3
    assert not list(shop.state.glob("runs/*/gather-*"))
