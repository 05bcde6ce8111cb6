"""Nights as a scheduler has them, with the real command."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backfill.sandbox import SandboxThread
from tests.end_to_end.support import COMMAND, SECRET, Shop
from tests.schedule.support import (
    cron_command,
    directives,
    systemd_split,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def odd_shop(tmp_path: Path, box: SandboxThread) -> Iterator[Shop]:
    """A shop in a folder whose name is hard to write down."""
    folder = tmp_path / 'cr\\on 100% "$HOME" `it\'s` ü'
    folder.mkdir()
    made = Shop(folder)
    made.env["REDO_BASE_URL"] = box.base_url
    made.orders(20)
    made.mapping(delivery={"endpoint": "bulk"})
    made.write("redo-secret.txt", SECRET)
    program = folder / "backfill"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    yield made
    made.close()


def scheduled(shop: Shop, form: str) -> str:
    """The file as the command prints it, with the shop's own program in it."""
    program = f"import sys; sys.argv[0] = {str(shop.folder / 'backfill')!r}\nfrom backfill.cli import main\nmain()\n"
    done = subprocess.run(
        [sys.executable, "-c", program, "schedule", "orders.yaml", "--at", "02:00", "--as", form],
        cwd=shop.folder,
        env={**shop.env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert SECRET not in done.stdout
    return done.stdout


def cron_night(shop: Shop, text: str) -> None:
    """As cron does it: nearly no environment, sh, and mail of what is printed."""
    command = cron_command(text, double=True)
    environment = {"HOME": shop.env["HOME"], "PATH": "/usr/bin:/bin", "LOGNAME": "ada", "SHELL": "/bin/sh"}
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def systemd_night(shop: Shop, text: str) -> None:
    (started,) = directives(text, "ExecStart")
    (variable,) = directives(text, "Environment")
    name, _, value = variable.replace("%d", str(shop.folder)).partition("=")
    (shop.folder / "redo-api-secret").write_text(SECRET)
    done = subprocess.run(
        systemd_split(started.removeprefix(":")), cwd="/", capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", name: value}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form, night", [("cron", cron_night), ("systemd", systemd_night)])
def test_two_nights(form, night, odd_shop: Shop, box: SandboxThread) -> None:
    text = scheduled(odd_shop, form)
    night(odd_shop, text)
    assert (box.summary().stored, box.summary().duplicates) == (20, 0)
    requests = box.summary().requests
    night(odd_shop, text)
    assert box.summary().requests == requests
