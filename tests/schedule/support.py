"""A job to be scheduled, what is written of it, and how a scheduler would read that."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from datetime import time as time_of_day
from pathlib import Path

import yaml

from backfill.schedule import Job, render
from tests.end_to_end.support import STORE

YEAR = 2026
MAPPING = """\
source: {files: exports/orders_*.csv, timezone: UTC}
events:
  - eventName: Order Placed
    uniqueId: "order:{order_id}"
    eventTimestamp: "{at}"
    customer: {email: "{email}"}
"""
# What the shell, cron, systemd, YAML, Kubernetes and GitHub each take for more than a letter.
AWKWARD = 'cr\\on\\\\ 100%\\% "$HOME" $(date) `it\'s` ${{x}} & ; # ü 注文 *'


def job(**changes: object) -> Job:
    made = Job(
        mapping=Path("/srv/shop/orders.yaml"),
        text=MAPPING,
        files=("exports/orders_*.csv",),
        program=("/opt/backfill/bin/backfill",),
        interpreter=Path("/usr/bin/python3"),
        options=("--store", STORE),
        state=Path("/srv/shop/.backfill"),
        state_given=False,
        secret_file=Path("/srv/shop/redo-secret.txt"),
        metrics_file=None,
        ping_file=None,
        at=time_of_day(2, 30),
        zone=None,
        machine="Europe/Berlin",
        owner="ada",
        name="orders",
        again=("schedule", "/srv/shop/orders.yaml", "--at", "02:30", "--as", "…"),
    )
    changed = replace(made, **changes)
    return changed if "name" in changes else replace(changed, name=changed.mapping.stem)


WATCHED = job(
    ping_file=Path("/srv/shop/orders-ping.txt"),
    metrics_file=Path("/var/lib/node-exporter/backfill.prom"),
    zone="America/New_York",
    files=("s3://exports.example.com/orders_*.parquet",),
)
PLAIN = job()


def written(form: str, made: Job = PLAIN) -> str:
    return "\n".join(f"# ---- {name}\n{text}" for name, text in render(made, form, YEAR).items())


def text_of(form: str, made: Job = PLAIN) -> str:
    return next(iter(render(made, form, YEAR).values()))


def cron_command(text: str, *, double: bool) -> str:
    """What cron hands to sh: `double` crons take a backslash away before a backslash, too."""
    line = text.splitlines()[-1].split(" ", 5)[5]
    return re.sub(r"\\([%\\])" if double else r"\\(%)", r"\1", line) if _no_end(line, double) else ""


def _no_end(line: str, double: bool) -> bool:
    return "%" not in re.sub(r"\\[%\\]" if double else r"\\%", "", line)


def systemd_split(text: str) -> list[str]:
    """What systemd makes of a unit's list of words: quotes, backslashes, specifiers."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text)
    return [re.sub(r"\\(.)", r"\1", quoted or plain).replace("%%", "%") for quoted, plain in words]


def directives(text: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]


def github_script(text: str) -> str:
    return yaml.safe_load(text)["jobs"]["backfill"]["steps"][1]["run"]


def container(text: str) -> dict:
    cronjob = next(each for each in yaml.safe_load_all(text) if each["kind"] == "CronJob")
    return cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]


def outcome(command: list[str], stub: Path, statuses: str) -> tuple[int, str, list[str]]:
    """Exit status, what it printed, and the runs and pauses."""
    (stub.parent / "statuses").write_text(statuses)
    log = stub.parent / "log"
    log.write_text("")
    environment = {"PATH": f"{stub}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=stub.parent, env=environment, capture_output=True, text=True, check=False, timeout=20
    )
    assert not done.stderr
    return done.returncode, done.stdout, log.read_text().splitlines()
