"""`backfill help`: its pages are there, hold what they promise, and what they show runs."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from backfill import errors
from backfill import help as pages
from backfill.cli import backfill as command_line
from backfill.sandbox import Options, SandboxThread
from tests.conftest import Require
from tests.test_readme import all_errors

TOPICS = list(pages.topics())
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECRET = "help-secret"
STORES = {"acme": "64e5a8a1af49a89df37e4ee7", "globex": "64e5a8a1af49a89df37e4ee8", "hooli": "64e5a8a1af49a89df37e4ee9"}


def blocks(topic: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(pages.page(topic)) if kind == language]


def test_each_page_has_a_title_and_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    files = {path.stem for path in Path(pages.__file__).parent.glob("*.md")}
    assert files == set(TOPICS)
    command_line.main(["help"], standalone_mode=False)
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in listed] == TOPICS
    assert all(len(line) <= 80 for line in listed)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_is_shown_as_it_is(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    command_line.main(["help", topic], standalone_mode=False)
    assert capsys.readouterr().out.rstrip("\n") == pages.page(topic).rstrip("\n")


def test_a_mistyped_topic_is_told() -> None:
    with pytest.raises(errors.UsageError, match='no help on "exits"; did you mean "exit"') as raised:
        pages.page("exits")
    assert "cookbook" in raised.value.hint


def test_on_a_terminal_it_is_set_in_type(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("PAGER", "cat")
    shown: list[str] = []
    monkeypatch.setattr("pydoc.pager", lambda text, title="": shown.append(text))
    command_line.main(["help", "ids"], standalone_mode=False)
    assert "```" not in shown[0]
    assert ".backfill/ledger.db" in shown[0]


@pytest.mark.parametrize("topic", TOPICS)
def test_commands_and_options_are_those_of_the_command_line(topic: str) -> None:
    text = pages.page(topic)
    assert set(re.findall(r"(?:`|^ {4}|^)backfill ([a-z]+)", text, re.MULTILINE)) <= set(command_line.commands)
    known = {"--help", "--debug"} | {
        name for command in command_line.commands.values() for option in command.params for name in option.opts
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= known


def test_each_exit_status_has_its_advice() -> None:
    told = {
        int(status)
        for line in re.findall(r"^## (.*?):", pages.page("exit"), re.MULTILINE)
        for status in line.split(", ")
    }
    interrupted = {errors.InterruptedRun("", signal=number).status for number in (2, 15)}
    assert told == {0, 3} | {kind.exit_status for kind in all_errors()} | interrupted


# ------------------------------------------------------------------------------------------------ what they show, run

MAPPING = """
source: {files: "exports/orders_*.csv", timezone: UTC}
events:
  - eventName: Order Placed
    uniqueId: "order:{id}"
    eventTimestamp: "{at}"
    customer: {email: "{email}"}
"""
Bash = Callable[[str], str]


@pytest.fixture
def bash(require: Require, tmp_path: Path) -> Any:
    """`bash(script)`: what it prints, run in `tmp_path` where three stores are about to move."""
    require("bash", "bash is not installed")
    for number, (name, store) in enumerate(STORES.items()):
        exports = tmp_path / "stores" / name / "exports"
        exports.mkdir(parents=True)
        rows = [f"{row},2024-03-0{row},ada@example.com" for row in range(1, 4 + number)]
        if name == "hooli":
            rows.append("9,2024-03-01,nobody")
        (exports / "orders_1.csv").write_text("id,at,email\n" + "\n".join(rows) + "\n")
        (exports.parent / "store-id").write_text(f"{store}\n")
        (exports.parent / "secret").write_text(SECRET)
    (tmp_path / "stores" / "mapping.yaml").write_text(MAPPING)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "backfill").write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from backfill.cli import main; main()" "$@"\n'
    )
    (programs / "backfill").chmod(0o755)
    (programs / "python3").symlink_to(sys.executable)
    with SandboxThread(Options(secrets=frozenset({SECRET}))) as box:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("REDO_", "BACKFILL_"))}
        env |= {"PATH": f"{programs}:{env['PATH']}", "REDO_BASE_URL": box.base_url, "NO_PROXY": "*"}

        def run(script: str) -> str:
            done = subprocess.run(
                [shutil.which("bash") or "", "-c", script], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, encoding="utf-8", timeout=100, check=False,
            )  # fmt: skip
            assert done.stderr == "", done.stderr
            return done.stdout

        yield run


@pytest.mark.slow
def test_fifty_stores_are_moved_as_the_page_says(bash: Bash) -> None:
    copy, check, canary, together, table = blocks("stores", "sh")
    assert bash(copy) == ""
    assert bash(check).splitlines() == ["0 stores/acme/", "0 stores/globex/", "3 stores/hooli/"]
    assert bash(canary).splitlines() == ["0 stores/acme/", "0 stores/globex/", "3 stores/hooli/"]
    send = canary.partition("for store")[0]
    assert sorted(bash(send + together).splitlines()) == ["0 stores/acme/", "0 stores/globex/", "3 stores/hooli/"]
    told = [line.split()[:-1] for line in bash(table).splitlines()]
    assert all(line[-3:] == ["0", "files", "unread,"] for line in told)
    assert [line[:-3] for line in told] == [
        ["acme", "exit", "0", "3", "delivered", "0", "rejected", "0", "pending"],
        ["globex", "exit", "0", "4", "delivered", "0", "rejected", "0", "pending"],
        ["hooli", "exit", "3", "5", "delivered", "1", "rejected", "0", "pending"],
    ]


def test_one_run_for_all_stores_is_as_the_page_says(bash: Bash, tmp_path: Path) -> None:
    [declared] = blocks("stores", "yaml")
    whole = yaml.safe_load(MAPPING) | {"delivery": (tree := yaml.safe_load(declared))["delivery"]}
    whole["source"]["files"] = tree["source"]["files"]
    (tmp_path / "stores" / "mapping.yaml").write_text(yaml.safe_dump(whole))
    shutil.rmtree(tmp_path / "stores" / "hooli")
    for secret in (tmp_path / "stores").glob("*/secret"):
        secret.chmod(0o600)
    said = bash("cd stores; backfill run mapping.yaml --yes --quiet --rate 100 2>&1; echo exit $?")
    assert "2 of 2 stores done: 7 events accepted" in said
    assert said.endswith("exit 0\n")


@pytest.mark.slow
def test_the_script_knows_what_a_status_means(bash: Bash, tmp_path: Path) -> None:
    [script] = blocks("exit", "sh")
    hooli = tmp_path / "stores" / "hooli"
    (hooli / "orders.yaml").write_text(MAPPING)
    there = "cd stores/hooli; exec 2>/dev/null; export REDO_STORE_ID=$(cat store-id) REDO_API_SECRET"
    assert re.search(r"rejected rows: \S+/report.html$", bash(f"{there}={SECRET}\n{script}"), re.MULTILINE)
    assert bash(f"{there}=wrong; rm -r .backfill\n{script}").splitlines()[-1] == "this needs a person"
    (hooli / "exports" / "orders_1.csv").write_text("id,at,email\n1,2024-03-01,ada@example.com\n")
    assert "person" not in (said := bash(f"{there}={SECRET}\n{script}")), said
    assert "rejected" not in said.splitlines()[-1] or "0 " in said


def test_python_does_as_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = blocks("python", "python")
    mapping = yaml.safe_load(MAPPING)
    mapping["source"]["files"] = "orders.csv"
    (tmp_path / "orders.yaml").write_text(yaml.safe_dump(mapping))
    (tmp_path / "orders.csv").write_text("id,at,email\n1,2024-03-01,ada@example.com\n2,2024-03-01,x\n")
    monkeypatch.chdir(tmp_path)
    seen: dict[str, Any] = {}
    exec(compile(code, "help/python.md", "exec"), seen)
    assert seen["result"].summary["events"]["accepted"] == 1
    assert seen["result"].rejected()["id"].to_list() == ["2"]
