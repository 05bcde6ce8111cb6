"""The command with an export in an object store, and with a run's folder that is copied to one."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from backfill.sandbox import SandboxThread
from tests.buckets import Bucket, bucket
from tests.end_to_end.support import STORE, Done, Shop

MAPPING = """\
source:
  files: [{files}]
delivery:
  store: {store}
  flows: acknowledged
events:
  - eventName: Order Placed
    eventTimestamp: "{{at}}"
    uniqueId: "order-{{order_id}}"
    customer: {{email: "{{email}}"}}
"""


@pytest.fixture
def s3(require: Callable[[object, str], None], shop: Shop) -> Iterator[Bucket]:
    with bucket(require) as box:
        shop.env |= box.environment
        yield box


def write_mapping(shop: Shop, *files: str) -> None:
    shop.write("s3.yaml", MAPPING.format(files=", ".join(f'"{file}"' for file in files), store=STORE))


def orders(count: int, start: int = 0) -> pl.DataFrame:
    numbers = range(start, start + count)
    return pl.DataFrame(
        {
            "order_id": list(numbers),
            "at": ["2024-01-02T10:00:00Z"] * count,
            "email": [f"c{i}@example.com" for i in numbers],
            "note": [f"{i * 2654435761 % 2**64:020d}{i * 40503 % 2**61:020d}" for i in numbers],
        }
    )


def parquet(frame: pl.DataFrame, rows: int | None = None) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out, row_group_size=rows)
    return out.getvalue()


def run(shop: Shop, *words: str) -> Done:
    return shop.do("run", *words, status=None)


def newest(shop: Shop) -> Path:
    return max(shop.run_folders(), key=lambda path: path.stat().st_mtime_ns)


def summary(shop: Shop) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((newest(shop) / "summary.json").read_text())
    return told


def test_csv_and_parquet_then_nothing_then_what_is_new(shop: Shop, s3: Bucket) -> None:
    s3.put("in/a.csv", orders(300).write_csv().encode())
    s3.put("in/b.parquet", parquet(orders(300, 300)))
    write_mapping(shop, f"{s3.url}/in/*.csv", f"{s3.url}/in/*.parquet")
    first = run(shop, "s3.yaml", "--endpoint", "bulk")
    assert first.status == 0, first.said
    assert summary(shop)["events"]["accepted"] == 600
    s3.forget()
    again = run(shop, "s3.yaml", "--endpoint", "bulk")
    assert again.status == 0, again.said
    assert summary(shop)["events"]["accepted"] == 0
    assert summary(shop)["events"]["already_delivered"] == 600
    # Neither was read: the object is what it was, as its ETag says.
    assert [one["unchanged"] for one in summary(shop)["files"]] == [True, True]
    s3.put("in/a.csv", orders(301, 1000).write_csv().encode())
    third = run(shop, "s3.yaml", "--endpoint", "bulk")
    assert third.status == 0, third.said
    assert summary(shop)["events"]["accepted"] == 301
    assert [one["unchanged"] for one in summary(shop)["files"]] == [False, True]


def test_a_rejected_row_of_parquet_has_all_its_columns(shop: Shop, s3: Bucket) -> None:
    frame = orders(2000).with_columns(at=pl.when(pl.col("order_id") % 700 == 5).then(pl.lit("?")).otherwise("at"))
    s3.put("a.parquet", parquet(frame, 500))
    write_mapping(shop, f"{s3.url}/a.parquet")
    done = run(shop, "s3.yaml", "--endpoint", "bulk", "--runs-to", f"{s3.url}/runs")
    assert done.status == 3, done.said
    folder = newest(shop)
    rejected = pl.read_csv(folder / "rejected.csv", infer_schema=False)
    wanted = frame.filter(pl.col("at") == "?").with_columns(pl.all().cast(pl.String))
    assert rejected.select(frame.columns).rows() == wanted.rows()
    # The run's folder is in the bucket as it is here.
    assert f"copied to: {s3.url}/runs/{folder.name}/" in done.out
    names = {"rejected.csv", "report.html", "summary.json"}
    assert {key for key in s3.listed() if key.startswith("runs/")} == {f"runs/{folder.name}/{name}" for name in names}
    for name in names:
        assert s3.get(f"runs/{folder.name}/{name}") == (folder / name).read_bytes()
    told = shop.do("report", "s3.yaml")
    assert told.err == f"note: it was copied to {s3.url}/runs/{folder.name}/report.html\n"


def test_a_store_that_dies_while_it_is_read(shop: Shop, s3: Bucket) -> None:
    s3.put("a.parquet", parquet(orders(60_000), 10_000))
    write_mapping(shop, f"{s3.url}/a.parquet")
    read = 0

    def answer(method: str, _path: str) -> None:
        nonlocal read
        read += method == "GET"
        if read == 5:
            threading.Thread(target=s3.stop).start()

    s3.answer = answer
    done = run(shop, "s3.yaml", "--endpoint", "bulk")
    assert done.status == 65, done.said
    assert "can't be" in done.err
    assert f"{s3.url}/a.parquet" in done.err
    assert "Traceback" not in done.said
    assert s3.environment["AWS_SECRET_ACCESS_KEY"] not in done.said


def test_a_store_that_fails_while_its_events_are_sent(shop: Shop, box: SandboxThread, s3: Bucket) -> None:
    s3.put("a.parquet", parquet(orders(60_000), 5_000))
    write_mapping(shop, f"{s3.url}/a.parquet")
    s3.answer = lambda _method, _path: ("403 Forbidden", b"") if box.ids(STORE) else None
    done = run(shop, "s3.yaml", "--endpoint", "bulk")
    assert done.status == 65, done.said
    assert f"{s3.url}/a.parquet: can't be " in done.err
    assert "access was denied" in done.err
    told = summary(shop)["events"]
    assert 0 < told["accepted"] < 60_000
    s3.answer = lambda _method, _path: None
    assert run(shop, "s3.yaml", "--endpoint", "bulk", "--rate", "5000").status == 0
    assert summary(shop)["events"]["already_delivered"] == told["accepted"]
    assert len(box.ids(STORE)) == 60_000


def test_nobody_s_credentials(shop: Shop, s3: Bucket) -> None:
    s3.put("a.csv", orders(3).write_csv().encode())
    write_mapping(shop, f"{s3.url}/*.csv")
    del shop.env["AWS_ACCESS_KEY_ID"], shop.env["AWS_SECRET_ACCESS_KEY"]
    done = run(shop, "s3.yaml")
    assert done.status == 65, done.said
    assert f"{s3.url}/*.csv: can't be listed: " in done.err
    assert "AWS_PROFILE" in done.err
    # As the tools of the store do, it looks into the home folder.
    folder = Path(shop.env["HOME"]) / ".aws"
    folder.mkdir()
    key, secret = s3.environment["AWS_ACCESS_KEY_ID"], s3.environment["AWS_SECRET_ACCESS_KEY"]
    (folder / "credentials").write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    assert run(shop, "s3.yaml").status == 0


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_a_copy_that_fails_loses_nothing(shop: Shop, s3: Bucket, kind: str) -> None:
    shop.orders(5)
    shop.mapping("orders.yaml", "orders.csv")
    (shop.folder / "taken").write_text("a file")
    to = "s3://no-such-bucket/runs" if kind == "bucket" else str(shop.folder / "taken")
    shop.env["BACKFILL_RUNS_TO"] = to
    done = run(shop, "orders.yaml")
    assert done.status == 74, done.said
    folder = newest(shop)
    assert f"copying the run to {to}/{folder.name}: " in done.err
    assert f"the run's folder is not lost: it is at {folder}" in done.err
    assert summary(shop)["exit"] == 74
    assert "runs_to" not in summary(shop)
    assert summary(shop)["events"]["accepted"] == 5
    # Another way to end is not hidden by it.
    del shop.env["BACKFILL_RUNS_TO"]
    assert run(shop, "orders.yaml").status == 0


def test_a_folder_takes_copies_too(shop: Shop) -> None:
    shop.orders(5)
    shop.mapping("orders.yaml", "orders.csv")
    done = run(shop, "orders.yaml", "--runs-to", "kept")
    assert done.status == 0, done.said
    copy = shop.folder / "kept" / newest(shop).name
    assert {file.name for file in copy.iterdir()} == {"report.html", "summary.json"}
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in copy.iterdir())
    assert copy.stat().st_mode & 0o777 == 0o700
    assert json.loads((copy / "summary.json").read_text())["runs_to"] == str(copy)


@pytest.mark.parametrize("url", ["https://example.com/runs", "s3://key:invented@bucket/runs", "s3://"])
def test_copies_can_not_go_everywhere(shop: Shop, url: str) -> None:
    shop.orders(1)
    shop.mapping("orders.yaml", "orders.csv")
    done = run(shop, "orders.yaml", "--runs-to", url)
    assert done.status == 78, done.said
    assert "--runs-to: " in done.err
    assert "invented" not in done.err


def test_the_ledger_knows_where_a_report_went_whose_folder_is_gone(shop: Shop) -> None:
    shop.orders(1)
    shop.mapping("orders.yaml", "orders.csv")
    assert run(shop, "orders.yaml", "--runs-to", "kept").status == 0
    name = newest(shop).name
    shutil.rmtree(shop.state / "runs")
    done = shop.do("report", "orders.yaml", status=None)
    assert done.status == 2
    assert f"the last run's is at {shop.folder / 'kept' / name}/report.html" in done.err
