"""The Python API: what the commands do, wherever Python code runs."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import backfill
from backfill import Backfill, BackfillError, Check, Progress
from backfill.cli.check import check as check_command
from backfill.cli.preview import preview as preview_command
from backfill.cli.run import run as run_command
from backfill.errors import ExportError, MappingError, StoppedError, UsageError
from backfill.sandbox import Faults, Options, SandboxThread

STORE = "64e5a8a1af49a89df37e4ee7"
MAPPING = """
source: {files: orders.csv, timezone: UTC}
events:
  - eventName: Order Placed
    uniqueId: "order:{id}"
    eventTimestamp: "{at}"
    value: "{total}"
    customer: {email: "{email}"}
"""


@pytest.fixture
def mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("REDO_", "BACKFILL_"))]:
        if name not in ("BACKFILL_REQUIRE_ALL", "BACKFILL_TEST_DATA"):
            monkeypatch.delenv(name)
    rows = ["id,at,email,total", "1,2024-03-01,ada@example.com,5", "2,2024-03-02,alan@example.com,x", "3,2024-03-03,,1"]
    (tmp_path / "orders.csv").write_text("\n".join(rows) + "\n")
    path = tmp_path / "orders.yaml"
    path.write_text(MAPPING)
    return path


def here(work: Callable[[], Any]) -> Any:
    return work()


def in_a_loop(work: Callable[[], Any]) -> Any:
    """As in a notebook: the thread's event loop is running."""

    async def main() -> Any:
        return work()

    return asyncio.run(main())


def in_a_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("where", [here, in_a_loop, in_a_thread])
def test_a_rehearsal_wherever_it_runs(mapping: Path, where: Callable[[Callable[[], Any]], Any]) -> None:
    orders = Backfill(mapping, sandbox=True)
    seen: list[Progress] = []
    checked = where(lambda: orders.check(progress=seen.append))
    assert (checked.status, checked.events["ready"], checked.events["invalid"]) == (3, 1, 2)
    assert {one["code"] for one in checked.problems} == {"not_a_number", "no_identifier"}
    result = where(lambda: orders.run(progress=seen.append))
    result.raise_for_error()
    assert (result.status, result.summary["events"]["accepted"]) == (3, 1)
    assert result.summary == json.loads((result.folder / "summary.json").read_text())
    assert result.report == orders.report()
    assert sorted(result.rejected()["id"]) == ["2", "3"]
    assert "1 event accepted, 2 rejected." in str(result)
    assert {one.stage for one in seen} == {"checking", "sending"}
    assert seen[-1] == Progress("sending", 1, 1)
    [past] = orders.runs()
    assert (past.exit_status, past.folder, past.summary) == (3, result.folder, result.summary)
    assert past.rejected().equals(result.rejected())
    assert orders.status()["stores"][0]["accepted"] == {"Order Placed": 1}
    assert where(orders.run).summary["events"]["already_delivered"] == 1


def test_a_mapping_is_drafted(mapping: Path) -> None:
    drafted = Backfill.init(mapping.parent / "orders.csv", mapping.parent / "draft.yaml")
    assert "TODO" in drafted.mapping.read_text()
    assert drafted.check().rows["read"] == 3
    with pytest.raises(UsageError, match="is there already"):
        Backfill.init(mapping.parent / "orders.csv", drafted.mapping)


def test_mended_rows_are_imported_from_another_file(mapping: Path, tmp_path: Path) -> None:
    rejected = Backfill(mapping, sandbox=True).run().rejected()
    mended = tmp_path / "mended.csv"
    rejected.with_columns(total=rejected["total"].replace("x", "7")).write_csv(mended)
    again = Backfill(mapping, sandbox=True, files=[mended]).run()
    assert (again.summary["events"]["accepted"], again.rejected()["problem"].to_list()) == (1, ["no_identifier"])


def test_it_says_what_the_command_says(mapping: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from backfill.cli import main; main()", "check", str(mapping), "-q"],
        capture_output=True, text=True, encoding="utf-8", cwd=mapping.parent, check=False,
    )  # fmt: skip
    checked = Backfill(mapping).check()
    # Where a report is written belongs to the command.
    assert said.stdout.startswith(str(checked))
    assert said.returncode == checked.status


def test_its_settings_are_the_commands_options() -> None:
    def names(command: click.Command) -> set[str]:
        # How a program tells others how it ended is its own affair.
        return {option.name or "" for option in command.params} - {
            "mapping",
            "as_json",
            "quiet",
            "metrics_file",
            "ping",
        }

    def arguments(method: Callable[..., Any]) -> set[str]:
        return set(inspect.signature(method).parameters) - {"self", "progress"}

    everywhere = {"state", "ledger", "files", "sandbox"}
    assert set(inspect.signature(Backfill).parameters) == {"mapping"} | everywhere
    assert arguments(Backfill.run) | everywhere == names(run_command)
    assert arguments(Backfill.check) | everywhere == names(check_command)
    assert arguments(Backfill.preview) | everywhere == names(preview_command) - {"curl"}


def test_a_check_has_a_page_and_one_of_other_files_has_its_own(mapping: Path) -> None:
    checked = Backfill(mapping).check()
    assert checked.report == mapping.resolve().parent / ".backfill" / "check" / "orders.html"
    assert str(checked).endswith(f"report: {checked.report}")
    before = checked.report.read_bytes()
    mended = mapping.parent / "rejected.csv"
    mended.write_text("id,at,email,total\n2,2024-03-02,alan@example.com,5\n")
    other = Backfill(mapping, files=[mended]).check()
    assert other.report == checked.report.with_name("orders.files.html")
    assert b"rejected.csv" in other.report.read_bytes()
    assert checked.report.read_bytes() == before


def test_a_check_whose_page_has_no_place_goes_on(mapping: Path) -> None:
    (mapping.parent / ".backfill").write_text("a file")
    checked = Backfill(mapping, state=mapping.parent / ".backfill" / "state").check()
    assert (checked.report, checked.status) == (None, 3)
    assert "report:" not in str(checked)


def test_what_is_wrong_is_raised_before_it_begins(mapping: Path) -> None:
    with pytest.raises(BackfillError, match="there is no secret"):
        Backfill(mapping).run(store=STORE, yes=True)
    mapping.write_text(MAPPING.replace("{total}", "{totl}"))
    for call in (Backfill(mapping).check, Backfill(mapping, sandbox=True).run):
        with pytest.raises(MappingError, match=r'orders.yaml:7:14: no column "totl".*did you mean "total"'):
            call()
    with pytest.raises(UsageError, match="no run has a report"):
        Backfill(mapping).report()


def test_nothing_is_sent_that_nobody_agreed_to(mapping: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDO_API_SECRET", "hush-hush")
    with SandboxThread(Options()) as box:
        orders = Backfill(mapping)
        result = orders.run(base_url=box.base_url, store=STORE)
        assert (result.status, result.summary["events"]["pending"], result.summary["requests"]) == (2, 1, 0)
        with pytest.raises(UsageError, match="nobody agreed"):
            result.raise_for_error()
        agreed = orders.run(base_url=box.base_url, store=STORE, yes=True)
        assert agreed.summary["events"]["accepted"] == 1
        few = orders.run(base_url=box.base_url, store=STORE, yes=True, min_rows=10)
        assert (few.status, few.summary["requests"]) == (65, 0)
        monkeypatch.delenv("REDO_API_SECRET")
        with pytest.raises(BackfillError, match="there is no secret"):
            orders.run(base_url=box.base_url, store=STORE)
    # What did not begin has no summary to be compared.
    assert [run.exit_status for run in orders.runs()] == [65, 3, 2]
    assert [run["state"] for run in orders.status()["runs"]] == ["exit 78", "exit 65", "exit 3", "exit 2"]


def test_a_file_that_cant_be_read_is_no_success(mapping: Path) -> None:
    (mapping.parent / "good.csv").write_text("id,at,email,total\n1,2024-03-01,ada@example.com,5\n")
    mapping.write_text(MAPPING.replace("orders.csv", "[good.csv, cut.csv.gz]"))
    (mapping.parent / "cut.csv.gz").write_bytes(b"\x1f\x8b\x08, and no more")
    checked: Check = Backfill(mapping).check()
    assert (checked.status, checked.events["ready"]) == (65, 1)
    with pytest.raises(ExportError, match=r"cut\.csv\.gz"):
        checked.raise_for_error()


_SLOW = """
import asyncio, sys
from backfill import Backfill

orders = Backfill(sys.argv[1], sandbox=False)

def go():
    orders.run(base_url=sys.argv[2], store="64e5a8a1af49a89df37e4ee7", yes=True, rate=50,
        progress=lambda at: at.stage == "sending" and at.done and print(at.done, flush=True))

async def main():
    go()

asyncio.run(main()) if sys.argv[3] == "loop" else go()
"""


@pytest.mark.parametrize("where", ["loop", "plain"])
def test_ctrl_c_ends_it_with_a_report(mapping: Path, where: str) -> None:
    rows = [f"{i},2024-03-01,ada@example.com,5" for i in range(2_000)]
    (mapping.parent / "orders.csv").write_text("id,at,email,total\n" + "\n".join(rows) + "\n")
    with SandboxThread(Options(faults=Faults.parse("latency=5"))) as box:
        command = [sys.executable, "-c", _SLOW, str(mapping), box.base_url, where]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "REDO_API_SECRET": "x"},
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()  # some are delivered
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt: interrupted by SIGINT: what was sent is recorded; report: " in errors, errors
    assert time.monotonic() - began < 30
    [past] = Backfill(mapping).runs()
    assert past.exit_status == 130
    assert past.summary is not None
    events = past.summary["events"]
    assert 0 < events["accepted"] < 2_000
    assert events["accepted"] + events["pending"] == 2_000
    assert Backfill(mapping).status()["stores"][0]["accepted"] == {"Order Placed": events["accepted"]}


@pytest.mark.parametrize("where", [here, in_a_loop])
@pytest.mark.parametrize("stage", ["checking", "sending"])
def test_a_progress_that_raises_ends_the_run_with_a_report(
    mapping: Path, where: Callable[[Callable[[], Any]], Any], stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDO_API_SECRET", "hush-hush")

    def progress(at: Progress) -> None:
        if at.stage == stage:
            raise LookupError(stage)

    rows = [f"{i},2024-03-01,ada@example.com,5" for i in range(300)]
    (mapping.parent / "orders.csv").write_text("id,at,email,total\n" + "\n".join(rows) + "\n")
    orders = Backfill(mapping)
    with SandboxThread(Options(faults=Faults.parse("latency=5"))) as box:
        with pytest.raises(LookupError, match=stage):
            where(lambda: orders.run(base_url=box.base_url, store=STORE, yes=True, rate=50, progress=progress))
        [past] = orders.runs()
        assert past.exit_status == 130
        accepted = sum(orders.status()["stores"][0]["accepted"].values())
        assert accepted < 300
        # Nothing that had arrived was forgotten.
        assert box.summary().stored == accepted
    if stage == "checking":
        with pytest.raises(LookupError, match=stage):
            where(lambda: orders.check(progress=progress))


def test_events_that_are_left_are_an_error(mapping: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDO_API_SECRET", "hush-hush")
    with SandboxThread(Options(faults=Faults.parse("503=100%"))) as box:
        result = Backfill(mapping).run(base_url=box.base_url, store=STORE, yes=True)
    assert (result.status, result.summary["events"]["pending"]) == (75, 1)
    with pytest.raises(StoppedError, match="1 event left: some requests got no answer that counts"):
        result.raise_for_error()


def test_importing_it_costs_next_to_nothing() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import backfill, sys; print('polars' in sys.modules, 'Backfill' in dir(backfill))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout == "False True\n"
    with pytest.raises(AttributeError, match="no attribute 'Backfil'"):
        backfill.Backfil  # noqa: B018


def test_it_is_typed() -> None:
    assert Path(backfill.__file__).with_name("py.typed").exists()
