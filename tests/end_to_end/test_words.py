"""What people read, as snapshots: a change shows up in review."""

from __future__ import annotations

import re

import pytest

from backfill.cli import backfill
from tests.end_to_end.support import SECRET, Shop, csv_text
from tests.end_to_end.test_bad_input import TEN_MISTAKES


@pytest.fixture
def varied(shop) -> Shop:
    """A shop whose export has something of everything."""
    head = ["order_id", "at", "email", "phone", "total", "note"]
    rows = [
        ["1", "2024-03-09 10:00:00", "ada@example.com", "718 555 0134", "10.50", "x"],
        ["2", "2024-03-10 02:30:00", "bob@example.com", "", "11", "x"],
        ["3", "never", "cy@example.com", "", "12", "x"],
        ["4", "2024-03-11", "not an address", "", "13", "=1+1"],
        ["5", "2024-03-12", "not an address", "718 555 0135", "14", "x"],
        ["6", "2024-03-13", "di@example.com", "", "N/A", "\x1b[31mred\x1b[0m"],
        ["1", "2024-03-09 10:00:00", "ada@example.com", "718 555 0134", "10.50", "x"],
        ["1", "2024-03-09 10:00:00", "ada@example.com", "718 555 0134", "99", "x"],
        ["7", "2024-03-14", "ed@example.com", "", "0", ""],
        ["8", "2024-03-15", "flo@example.com", "", "1", "test"],
    ]
    shop.write("orders.csv", csv_text([head, *rows]) + "9,too short\n")
    event = {
        "customer": {"email": "{email}", "phoneNumber": {"column": "phone", "region": "US"}},
        "data": {"Note": "{note}", "Total": {"column": "total", "type": "number"}},
    }
    source = {"timezone": "America/New_York", "where": "note IS NULL OR note <> 'test'"}
    shop.mapping(source=source, event=event, delivery={"endpoint": "bulk"})
    return shop


def plain(shop: Shop, text: str) -> str:
    """Without what differs from run to run: the folder, the port, the run's own name."""
    assert SECRET not in text
    text = text.replace(str(shop.folder), "FOLDER")
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{6}", "RUN", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "MOMENT", text)


def test_check(varied, snapshot):
    assert plain(varied, varied.do("check", "orders.yaml", status=3).said) == snapshot


def test_run_and_what_it_leaves(varied, snapshot):
    run = varied.deliver(status=3)
    assert plain(varied, run.done.out) == snapshot(name="stdout")
    assert plain(varied, run.done.err) == snapshot(name="stderr")
    assert (run.folder / "rejected.csv").read_bytes().decode() == snapshot(name="rejected.csv")
    assert plain(varied, (run.folder / "summary.json").read_text()) == snapshot(name="summary.json")
    assert plain(varied, varied.do("status", "orders.yaml").out) == snapshot(name="status")


def test_preview(varied, snapshot):
    assert varied.do("preview", "orders.yaml", "-n", "1").out == snapshot
    assert varied.do("preview", "orders.yaml", "-n", "1", "--curl").out == snapshot(name="curl")


def test_mistakes(lone_shop, snapshot):
    lone_shop.orders(3)
    lone_shop.write("orders.yaml", TEN_MISTAKES)
    assert lone_shop.do("check", "orders.yaml", status=78).err == snapshot


@pytest.mark.parametrize("command", ["", *backfill.commands])
def test_help(command, snapshot):
    """In this process: one that is started says the same."""
    from click.testing import CliRunner

    words = [command, "--help"] if command else ["--help"]
    result = CliRunner().invoke(backfill, words, prog_name="backfill", terminal_width=100)
    assert result.exit_code == 0
    assert result.output == snapshot
