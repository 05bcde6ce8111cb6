"""GitHub's workflow: its schema, and its script run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from backfill.errors import UsageError
from backfill.schedule import render
from tests.conftest import Require
from tests.schedule.support import (
    PLAIN,
    WATCHED,
    YEAR,
    container,
    cron_command,
    github_script,
    job,
    outcome,
    text_of,
)


def test_github_takes_the_workflow(tmp_path: Path) -> None:
    paths = []
    for number, made in enumerate([PLAIN, WATCHED]):
        path = tmp_path / f"{number}.yml"
        path.write_text(text_of("github-actions", made))
        paths.append(str(path))
    subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *paths], check=True
    )
    workflow = yaml.safe_load(text_of("github-actions", WATCHED))
    # `on` is a truth in YAML 1.1.
    assert workflow[True]["schedule"] == [{"cron": "30 2 * * *", "timezone": "America/New_York"}]
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["backfill"]["permissions"] == {"contents": "read"}


def test_github_runs_it(stub: Path) -> None:
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", github_script(text_of("github-actions"))]
    assert outcome(command, stub, "0")[0] == 0
    ended, said, log = outcome(command, stub, "75 3")
    assert (ended, log[1]) == (0, "sleep 1800")
    assert said.splitlines()[-1].startswith("::warning title=Some rows were rejected::")
    ended, said, log = outcome(command, stub, "77")
    assert (ended, len(log)) == (77, 1)
    assert said.splitlines()[-1].startswith("::error title=backfill ended with 77::")


def test_github_finds_the_mapping_in_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    script = github_script(text_of("github-actions", job(mapping=tmp_path / "imports/my orders.yaml")))
    assert "backfill run 'imports/my orders.yaml' --yes --state /var/lib/backfill/my-orders " in script
    script = github_script(text_of("github-actions", job(state=Path("/data/ledger"), state_given=True)))
    assert "--state /data/ledger " in script
    with pytest.raises(UsageError, match="GitHub would replace"):
        render(job(mapping=Path("/srv/${{ secrets.X }}.yaml")), "github-actions", YEAR)


def test_shellcheck_finds_nothing(require: Require) -> None:
    require("shellcheck", "shellcheck is not installed")
    scripts = {
        "sh": [cron_command(text_of("cron"), double=False), container(text_of("kubernetes"))["command"][2]],
        "bash": [github_script(text_of("github-actions"))],
    }
    for shell, texts in scripts.items():
        for text in texts:
            done = subprocess.run(
                # 2086: the pauses and the status are numbers, and a crontab's line is short.
                ["shellcheck", "--shell", shell, "--exclude", "SC2086", "-"],
                input=text, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout
