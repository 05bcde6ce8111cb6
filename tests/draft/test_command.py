"""`backfill init`, as it is called."""

from __future__ import annotations

import os
import pty
import re
import select
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from backfill.cli import backfill, guarded
from backfill.mapping import load

ORDERS = (
    "order_id,created_at,email,phone,total\n"
    "1001,2024-03-01 09:15:00,ada@example.com,(212) 555-0101,59.90\n"
    "1002,2024-03-02 11:40:12,grace@example.com,,120.00\n"
    "1003,2024-03-03 11:40:12,,(212) 555-0104,N/A\n"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "done.yaml").write_text("source: {files: orders.csv}\n")
    (tmp_path / "orders.zip").write_bytes(b"PK\x03\x04 and more")
    return tmp_path


def call(*words: str) -> tuple[int, str, str]:
    result: list[object] = []

    def work() -> int:
        done = CliRunner().invoke(backfill, ["init", *words], standalone_mode=False)
        result.append(done)
        if done.exception is not None:
            raise done.exception
        return int(done.return_value or 0)

    status = guarded(work, debug=False)
    done = result[0]
    return status, done.stdout, done.stderr  # type: ignore[attr-defined]


def test_to_stdout(here, snapshot):
    status, out, err = call("orders.csv")
    assert status == 0
    assert out == snapshot(name="stdout")
    assert err == snapshot(name="stderr")


def test_to_a_file_which_check_takes(here):
    (here / "maps").mkdir()
    status, out, err = call("orders.csv", "-o", "maps/orders.yaml")
    assert (status, out) == (0, "")
    assert load(here / "maps/orders.yaml").source.files == ["../orders.csv"]
    text = (here / "maps/orders.yaml").read_text()
    for line, words in re.findall(r"maps/orders\.yaml:(\d+): (.*)", err):
        assert words[:30] in text.splitlines()[int(line) - 1]
    done = CliRunner().invoke(backfill, ["check", "maps/orders.yaml"], standalone_mode=False)
    assert done.return_value == 0, done.output


def test_nothing_is_overwritten(here, capsys):
    (here / "orders.yaml").write_text("mine")
    status, _, _ = call("orders.csv", "-o", "orders.yaml")
    assert status == 2
    assert "init overwrites nothing" in capsys.readouterr().err
    assert (here / "orders.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    "words, status",
    [(["nothing.csv"], 65), (["empty.csv"], 65), (["orders.csv", "--preset", "nobody"], 2), ([], 2), (["broken.parquet"], 65), (["done.yaml"], 65), (["orders.zip"], 65),
     (["orders.csv", "-o", "nowhere/orders.yaml"], 74)],
)  # fmt: skip
def test_statuses(here, words, status):
    (here / "empty.csv").write_text("")
    (here / "broken.parquet").write_bytes(b"PAR1 and no more")
    assert call(*words)[0] == status


def test_on_a_terminal_it_asks_what_matters(here):
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(here)
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
        code = "from backfill.cli import main; main()"
        os.execv(
            sys.executable, [sys.executable, "-c", code, "init", "orders.csv", "-o", "asked.yaml", "--preset", "none"]
        )
    said = b""
    replies = {
        b"zone": b"Mars/Base\nEurope/Paris\n",
        b"called": b"\n",
        b"this event": b"\n",
        b"currency": b"eur\n",
        b"country": b"\n",
    }
    while select.select([master], [], [], 60)[0]:
        try:
            said += os.read(master, 4096)
        except OSError:
            break
        for word in list(replies):
            if word in said and said.endswith(b"]: "):
                os.write(master, replies.pop(word))
                said += b"|"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    mapping = load(here / "asked.yaml")
    assert mapping.source.timezone == "Europe/Paris"
    assert mapping.events[0].valueCurrency.const == "EUR"
    assert b'"Mars/Base" is no time zone' in said
    assert "# TODO" not in (here / "asked.yaml").read_text()


def test_with_yes_nobody_is_asked(here):
    assert call("orders.csv", "--yes")[1] == call("orders.csv")[1]
