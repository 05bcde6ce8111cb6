"""69,659 real purchases without an id, some of them alike in every column: each arrives once, however they are filed."""

from __future__ import annotations

import shutil
from collections import Counter

import polars as pl
import pytest

from tests.end_to_end.support import Shop, stored_ids

ROWS = 69_659
EVENT = {
    "eventName": "Purchase",
    "uniqueId": {"hash": "*", "prefix": "cdnow:", "occurrence": True},
    "eventTimestamp": {"column": "date", "format": "%Y%m%d"},
    "value": "{dollars}",
    "valueCurrency": "USD",
    "customer": {"id": "{customer_id}"},
    "data": {"CDs": {"column": "cds", "type": "integer"}},
}


@pytest.fixture
def purchases(test_data, tmp_path, require) -> Shop:
    source = test_data / "real" / "cdnow_purchases.csv"
    require(source.is_file(), f"there is no {source}")
    shutil.copyfile(source, tmp_path / "purchases.csv")
    return Shop(tmp_path)


def mapping(shop: Shop, name: str, files: object) -> str:
    shop.mapping(name, files, source={"timezone": "America/New_York"}, events=[EVENT], delivery={"endpoint": "bulk"})
    return name


@pytest.mark.slow
def test_each_purchase_arrives_once_however_they_are_filed(purchases):
    shop = purchases
    frame = pl.read_csv(shop.folder / "purchases.csv", infer_schema=False)
    assert frame.height == ROWS
    assert frame.height - frame.n_unique() == 255
    assert (frame["dollars"].cast(pl.Float64) == 0).sum() == 80

    first = shop.deliver("--sandbox", mapping=mapping(shop, "purchases.yaml", "purchases.csv"))
    assert first.events == {"total": ROWS, "accepted": ROWS}
    arrived = Counter(stored_ids(shop.state / "sandbox" / "events.db"))
    assert len(arrived) == ROWS
    assert set(arrived.values()) == {1}
    assert all(one.startswith("cdnow:") for one in arrived)
    # Rates are requests a second: 697 requests take no longer than the store's rate makes them.
    assert first.summary["requests"] == 697
    assert first.summary["rate_limited"] == 0

    # Had a single id or a byte of content come out otherwise, one of these runs would send it, or call it changed.
    frame.write_parquet(shop.folder / "purchases.parquet")
    third = ROWS // 3
    for i, name in enumerate(("c.csv", "a.csv", "b.csv")):
        frame.slice(i * third, third if i < 2 else None).write_csv(shop.folder / name)
    for name, files in {
        "again.yaml": "purchases.csv",
        "parquet.yaml": "purchases.parquet",
        "parts.yaml": ["c.csv", "a.csv", "b.csv"],
        "otherwise.yaml": ["b.csv", "c.csv", "a.csv"],
    }.items():
        same = shop.deliver("--sandbox", mapping=mapping(shop, name, files))
        assert same.events == {"total": ROWS, "already_delivered": ROWS}, name
        assert same.summary["requests"] == 0
    assert len(stored_ids(shop.state / "sandbox" / "events.db")) == ROWS
