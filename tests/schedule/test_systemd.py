"""systemd's own tools take the units."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from backfill.schedule import render
from tests.conftest import Require
from tests.schedule.support import (
    AWKWARD,
    PLAIN,
    WATCHED,
    YEAR,
    directives,
    job,
    text_of,
)


def test_systemd_takes_the_units(tmp_path: Path, require: Require) -> None:
    require("systemd-analyze", "systemd-analyze is not installed")
    program = tmp_path / AWKWARD.replace("/", "") / "backfill"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for number, case in enumerate([PLAIN, WATCHED, job(mapping=Path("/srv") / AWKWARD / "a.yaml"), job(state=program)]):
        made = replace(case, program=(str(program),) if number else ("/bin/true",), owner="root")
        units = tmp_path / str(number)
        units.mkdir()
        for name, text in render(made, "systemd", YEAR).items():
            (units / name).write_text(text)
        paths = [*map(str, units.iterdir())]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), made
        (calendar,) = directives((units / f"backfill-{made.slug}.timer").read_text(), "OnCalendar")
        subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, check=True)


def test_systemd_has_taken_away_what_it_does_not_need(tmp_path: Path, require: Require) -> None:
    require("systemd-analyze", "systemd-analyze is not installed")
    (tmp_path / "backfill-orders.service").write_text(text_of("systemd"))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(tmp_path / "backfill-orders.service")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if "offline" in done.stderr:
        pytest.skip("this systemd-analyze can't judge a unit that is not installed")
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_systemd_opens_only_what_is_used() -> None:
    def said(name: str, **changes: object) -> list[str]:
        return directives(text_of("systemd", job(**changes)), name)

    assert said("ReadWritePaths") == ["/srv/shop/.backfill"]
    assert said("ReadWritePaths", metrics_file=Path("/var/lib/m/b.prom")) == ["/srv/shop/.backfill /var/lib/m"]
    assert said("ProtectHome") == ["yes"]
    assert said("PrivateTmp") == ["yes"]
    for changes in (
        {"mapping": Path("/home/ada/orders.yaml")},
        {"interpreter": Path("/root/.pyenv/versions/3.13/bin/python3")},
        {"files": ("/home/ada/*.csv",)},
    ):
        assert said("ProtectHome", **changes) == ["read-only"]
    assert said("PrivateTmp", files=("/tmp/exports/*.csv", "s3://exports.example.com/")) == ["no"]


def test_systemd_tries_again_what_helps() -> None:
    from backfill import errors

    service = text_of("systemd")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_status")]
    statuses = {str(kind.exit_status) for kind in kinds}
    (prevented,) = directives(service, "RestartPreventExitStatus")
    assert statuses - set(prevented.split()) == {"11", "75"}
    assert directives(service, "SuccessExitStatus") == ["3"]
