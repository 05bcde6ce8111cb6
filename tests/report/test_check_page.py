"""The page of a check: written beside the mapping before anything is sent, and never in the way of the check."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from backfill.cli import backfill
from backfill.errors import ExportError
from tests.report.test_page import Reader

EVENT = {
    "eventName": "{name}", "uniqueId": "order:{id}", "eventTimestamp": "{at}", "customer": {"email": "{email}"},
    "data": {"Note": "{id}"},
}  # fmt: skip
ROWS = [
    "1,2024-03-01 09:15:00,Order Placed,a@example.com",
    "2,1970-01-01 00:00:00,Order Placed,b@example.com",
    "3,2024-03-04 17:00:00,Order Refunded,never",
    "4,2999-03-04 17:00:00,Order Refunded,c@example.com",
]


@pytest.fixture
def mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REDO_STORE_ID", "REDO_API_SECRET", "REDO_BASE_URL", "BACKFILL_STATE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "orders.csv").write_text("\n".join(["id,at,name,email", *ROWS]) + "\n")
    path = tmp_path / "my orders.yaml"
    tree = {"source": {"files": "orders.csv", "timezone": "America/New_York"}, "events": [EVENT]}
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def checked(*words: object) -> Result:
    return CliRunner().invoke(backfill, ["check", *map(str, words)], standalone_mode=False)


def test_it_is_named_last_and_tells_what_was_found(mapping):
    """Without a store, without a secret, without a ledger."""
    done = checked(mapping)
    assert done.return_value == 3
    path = mapping.parent / ".backfill" / "check" / "my orders.html"
    assert done.stdout.splitlines()[-1] == f"report: {path}"
    assert [one.name for one in (mapping.parent / ".backfill").iterdir()] == ["check"]
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path.parent, path)] == [0o700, 0o600]
    text = Reader(path.read_text(encoding="utf-8")).text
    for words in (
        "2 events ready to be sent, 2 rejected", "Exit status 3", "some rows or events would be rejected",
        "backfill run 'my orders.yaml' --sandbox", "1 event before the year 2000", "1 event in the future",
        "from 1970-01-01 to 2024-03-01 (America/New_York)", "nothing was sent", "orders.csv:4",
        "2 events that could not be made are not counted",
    ):  # fmt: skip
        assert words in text
    assert "How sending went" not in text
    assert "Store" not in text


def test_as_json_it_is_a_member(mapping):
    done = checked(mapping, "--json", "--store", "64e5a8a1af49a89df37e4ee7")
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["type"] == "check"
    assert "64e5a8a1af49a89df37e4ee7" in Path(last["report"]).read_text(encoding="utf-8")


def test_where_it_cannot_be_written_the_check_is_what_it_was(mapping):
    (mapping.parent / ".backfill").write_text("a file")
    done = checked(mapping)
    assert done.return_value == 3
    assert "report:" not in done.stdout
    assert "2 ready" in done.stdout
    assert "note: no report is written: writing the report: " in done.stderr
    lines = [json.loads(line) for line in checked(mapping, "--json").stdout.splitlines()]
    assert lines[-1]["report"] is None


def test_one_of_a_file_that_cannot_be_read(mapping):
    (mapping.parent / "torn.csv").write_text("id,at,name,email\n" + ROWS[0].replace("1,", "7,", 1) + '\n5,"open\n6,x\n')
    done = checked(mapping, "--files", mapping.parent / "orders.csv", "--files", mapping.parent / "torn.csv")
    assert isinstance(done.exception, ExportError)
    text = Reader((mapping.parent / ".backfill" / "check" / "my orders.files.html").read_text(encoding="utf-8")).text
    assert "Exit status 65" in text
    assert "1 file can't be read" in text


def test_what_the_survey_counts_is_what_the_export_says(mapping):
    """By name and day in the mapping's zone, also where ids make it read the export twice."""
    from backfill import check as checks
    from backfill.observer import Observer
    from backfill.settings import Flags
    from backfill.timeline import binned

    rows = [
        *ROWS,
        "1,2024-03-01 09:15:00,Order Placed,a@example.com",
        "9,2024-03-02 03:00:00,Order Placed,d@example.com",
    ]
    (mapping.parent / "orders.csv").write_text("\n".join(["id,at,name,email", *rows]) + "\n")
    _, found, _ = checks.check(mapping, Flags(), Observer())
    times = binned(found.timeline, found.index.names)
    assert times is not None
    assert times.total == 4
    assert (times.hours[9], times.hours[3], times.hours[0]) == (2, 1, 1)
    assert datetime(1970, 1, 1, tzinfo=UTC).date().isoformat() == times.first
