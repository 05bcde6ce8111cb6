"""cron's line is run as cron runs it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cronsim import CronSim

from backfill.errors import UsageError
from backfill.schedule import render
from tests.schedule.support import (
    WATCHED,
    YEAR,
    cron_command,
    job,
    outcome,
    text_of,
)


def test_cron_runs_at_that_time() -> None:
    *_, line = text_of("cron").splitlines()
    assert next(CronSim(" ".join(line.split(" ")[:5]), datetime(2026, 3, 1, 12, tzinfo=UTC))) == datetime(
        2026, 3, 2, 2, 30, tzinfo=UTC
    )
    assert "CRON_TZ" not in text_of("cron")
    assert "\nCRON_TZ=America/New_York\n" in text_of("cron", WATCHED)
    for above in text_of("cron", WATCHED).splitlines()[:-1]:
        assert above.startswith(("#", "CRON_TZ="))


def test_cron_says_nothing_when_all_is_well_and_tries_again_when_it_helps(stub: Path) -> None:
    made = job(program=(str(stub / "backfill"),), state=stub.parent / "state", secret_file=Path("secret"))
    command = ["/bin/sh", "-c", cron_command(text_of("cron", made), double=False)]
    run = "run secret"
    assert outcome(command, stub, "0") == (0, "", [run])
    assert outcome(command, stub, "75 11 0") == (0, "", [run, "sleep 1800", run, "sleep 3600", run])
    night = (stub.parent / "state/cron-orders.log").read_text()
    assert night.count("backfill run ") == 3
    # Each attempt says when it began.
    assert night.count(f"{datetime.now():%a %b}") == 3
    for status in (3, 65, 77, 78):
        ended, said, log = outcome(command, stub, f"{status} 0")
        assert (ended, log) == (status, [run])
        assert "\nbackfill run " in said
        assert said.count("backfill run ") == 1
        assert said.endswith(f"exit status {status}\n")
    ended, said, log = outcome(command, stub, "75 75 75 75 75 75 75")
    assert ended == 75
    assert "exit status 75" in said
    assert log.count(run) == 5
    assert said.count("backfill run ") == 5
    assert (stub.parent / "state/cron-orders.log.1").read_text().count("backfill run ") == 1
    assert (stub.parent / "state").stat().st_mode & 0o777 == 0o700
    assert (stub.parent / "state/cron-orders.log").stat().st_mode & 0o777 == 0o600


def test_cron_tells_the_switch(stub: Path) -> None:
    made = job(program=(str(stub / "backfill"),), state=stub.parent / "state", secret_file=Path("secret"))
    made = replace(made, ping_file=Path("/srv/100 %/ping.txt"))
    command = ["/bin/sh", "-c", cron_command(text_of("cron", made), double=False)]
    assert outcome(command, stub, "0") == (0, "", ["run secret, /srv/100 %/ping.txt"])


def test_a_crontab_line_has_an_end() -> None:
    with pytest.raises(UsageError, match="a line of a crontab holds 998") as raised:
        render(job(state=Path("/" + "deep/" * 200)), "cron", YEAR)
    assert "systemd" in raised.value.hint
