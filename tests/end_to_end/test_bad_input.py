"""Mappings, exports and commands that are wrong: a line for each mistake, an exit status, and no traceback."""

from __future__ import annotations

import pytest

from tests.end_to_end.support import Shop, csv_text

TEN_MISTAKES = """\
source:
  files: orders.csv
  timezone: America/New_Yrok
  formt: csv
events:
  - eventName: Order Placed
    uniqueId: "order:{order_id"
    eventTimestamp: {column: at, type: datetme}
    value: "{totl}"
    valueCurrency: USDollar
    customer:
      email: {column: email, on_invalid: ignore}
      phone: "{note}"
    data: {Sum: {sql: "SELEC 1"}}
    where: "note <>"
delivery:
  endpoint: both
  api_secret: hush
"""


def is_told(text: str) -> str:
    """What a user may read: no traceback, no names of Python's."""
    for word in ("Traceback", "Error:", "Errno", "NoneType", 'File "', "<class", "0x7f"):
        assert word not in text, text
    return text


@pytest.fixture
def plain(lone_shop) -> Shop:
    """A shop with three orders, a mapping, and no server."""
    lone_shop.orders(3)
    lone_shop.mapping()
    return lone_shop


def test_each_mistake_of_a_mapping_is_named_at_once(plain):
    plain.write("orders.yaml", TEN_MISTAKES)
    done = plain.do("run", "orders.yaml", status=78)
    lines = is_told(done.err).splitlines()
    places = {3, 4, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18}
    assert {int(line.split(":")[1]) for line in lines if line.startswith("orders.yaml:")} == places
    assert 'did you mean "America/New_York"' in done.err
    assert 'did you mean "total"' in done.err
    assert "hush" not in done.said
    assert done.out == ""
    assert not plain.state.exists()


@pytest.mark.parametrize(
    ("command", "files", "status", "words"),
    [
        ("run", "missing.csv", 65, ["missing.csv"]),
        ("check", "missing_*.csv", 65, ["missing_*.csv"]),
        ("run", "empty.csv", 65, ["empty.csv", "is empty"]),
        ("check", "empty.parquet", 65, ["empty.parquet"]),
        ("run", "torn.parquet", 65, ["torn.parquet"]),
        ("check", "torn.csv.gz", 65, ["torn.csv.gz"]),
        ("preview", "other.csv", 78, ["orders.yaml:", '"at"', "other.csv"]),
        ("run", "open.csv", 65, ["open.csv", "3"]),
    ],
)
def test_exports_that_cannot_be_read(plain, command, files, status, words):
    import gzip

    plain.write("empty.csv", "")
    plain.write("empty.parquet", "")
    plain.write("torn.parquet", b"PAR1" + b"\0" * 100)
    packed = gzip.compress((plain.folder / "orders.csv").read_bytes() * 50)
    plain.write("torn.csv.gz", packed[: len(packed) // 2])
    plain.write("other.csv", csv_text([["order_id", "date", "email", "total", "note"], ["1"] * 5]))
    plain.write(
        "open.csv", 'order_id,at,email,total,note\n1,2024-01-01,a@example.com,1,x\n2,2024-01-01,"a,1,\n' + "3,,,,\n" * 9
    )
    plain.mapping(files=files)
    done = plain.do(command, "orders.yaml", status=status)
    is_told(done.err)
    assert 1 <= len(done.err.splitlines()) <= 3
    for word in words:
        assert word in done.err


def test_no_rows(plain):
    plain.write("orders.csv", "order_id,at,email,total,note\n")
    assert "0" in plain.do("check", "orders.yaml").out
    assert plain.deliver().events == {}
    is_told(plain.do("preview", "orders.yaml", status=2).err)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["rnu", "orders.yaml"], 2),
        (["run"], 2),
        (["run", "orders.yaml", "--limti", "3"], 2),
        (["run", "orders.yaml", "--limit", "0"], 2),
        (["run", "orders.yaml", "--limit", "many"], 2),
        (["run", "orders.yaml", "--endpoint", "double"], 2),
        (["run", "orders.yaml", "extra"], 2),
        (["run", "."], 2),
        (["run", "missing.yaml"], 78),
        (["preview", "orders.yaml", "-n", "0"], 2),
        (["preview", "orders.yaml", "--row", "99"], 2),
        (["report", "orders.yaml"], 2),
        (["sandbox", "--faults", "sometimes"], 2),
        (["sandbox", "--port", "99999"], 2),
        (["sandbox", "--port", "1", "--host", "192.0.2.1"], 2),
    ],
)
def test_commands_that_are_wrong(plain, words, status):
    done = plain.do(*words, status=status)
    assert is_told(done.err.replace("Error:", "")).strip()
    assert done.out == ""


def test_no_command_at_all(lone_shop):
    done = lone_shop.do(status=None)
    assert done.status in {0, 2}
    assert "Usage:" in is_told(done.said)


def test_a_traceback_is_for_who_asks(plain):
    plain.mapping(files="missing.csv")
    is_told(plain.do("check", "orders.yaml", status=65).said)
    assert "Traceback" in plain.do("--debug", "check", "orders.yaml", status=65).err


def test_a_state_folder_that_cannot_be(plain):
    plain.write("taken", "a file")
    done = plain.do("run", "orders.yaml", "--state", "taken/state", status=None)
    assert done.status in {74, 78}
    assert "taken" in is_told(done.err)
    assert "nothing" in is_told(plain.do("status", "orders.yaml").said)


def test_a_ledger_that_is_none(plain):
    plain.state.mkdir(mode=0o700)
    (plain.state / "ledger.db").write_bytes(b"no database at all, but a text that somebody saved here\n" * 100)
    for command in ("run", "status", "check"):
        done = plain.do(command, "orders.yaml", status=None)
        assert done.status in {74, 78}, command
        assert "ledger.db" in is_told(done.err)
