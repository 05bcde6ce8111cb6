"""What is written for each scheduler, and what the command says."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from datetime import time as time_of_day
from pathlib import Path

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from backfill.cli import backfill
from backfill.errors import SettingsError, StorageError, UsageError
from backfill.schedule import FORMS, Job, Options, plan_job, render, save
from backfill.schedule.job import _VARIABLES
from backfill.schedule.zones import machine_zone, utc_times
from backfill.settings import Flags
from tests.end_to_end.support import SECRET, STORE, Shop
from tests.schedule.support import (
    MAPPING,
    PLAIN,
    WATCHED,
    YEAR,
    text_of,
    written,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written(form: str, snapshot: SnapshotAssertion) -> None:
    assert written(form) == snapshot(name="plain")
    assert written(form, WATCHED) == snapshot(name="watched")


@pytest.mark.parametrize("form", FORMS)
def test_nothing_secret_and_everything_passed_on(form: str, tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(MAPPING)
    environment = {
        "REDO_API_SECRET": SECRET,
        "REDO_STORE_ID": STORE,
        "REDO_BASE_URL": "https://api.example.com/v2",
        "BACKFILL_RATE": "20",
        "BACKFILL_ENDPOINT": "bulk",
        "TZ": "Asia/Tokyo",
    }
    options = Options("2:30", ping="https://ping.example.com/7f3a", metrics_file=Path("/var/lib/metrics/b.prom"))
    text = written(form, plan_job(tmp_path / "orders.yaml", Flags(), options, environment))
    words = re.sub(r"[\s\",-]+", " ", text)
    assert SECRET not in text
    for wanted in (
        f"store {STORE}", "base url https://api.example.com/v2", "rate 20", "endpoint bulk", "yes", "Asia/Tokyo",
        "metrics file /var/lib/metrics/b.prom",
    ):  # fmt: skip
        assert wanted in words, wanted
    # Who knows the switch's address can keep it quiet.
    assert "7f3a" not in text
    assert "BACKFILL_PING" in text


@pytest.mark.parametrize("form", FORMS)
def test_the_ledgers_address_is_a_secret(form: str, tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(MAPPING)
    url = f"postgresql://me:{SECRET}@db.example.com/backfill"
    environment = {"REDO_STORE_ID": STORE, "BACKFILL_LEDGER": url}
    made = plan_job(tmp_path / "orders.yaml", Flags(), Options("2:30"), environment)
    text = written(form, made)
    assert SECRET not in text
    assert "db.example.com" not in text
    told = {
        "cron": f"BACKFILL_LEDGER_FILE={tmp_path}/ledger-url.txt /",
        "systemd": "\nEnvironment=BACKFILL_LEDGER_FILE=%d/backfill-ledger-url\n"
        "LoadCredentialEncrypted=backfill-ledger-url:",
        "kubernetes": "- {name: BACKFILL_LEDGER_FILE, value: /secret/backfill-ledger-url}",
        "github-actions": "\n          BACKFILL_LEDGER: ${{ secrets.BACKFILL_LEDGER }}\n",
        "airflow": '\n        env["BACKFILL_LEDGER"] = BaseHook.get_connection(LEDGER).password or ""\n',
    }
    assert told[form] in text
    assert told[form] not in written(form, replace(made, ledger_file=None))
    if form == "airflow":
        ast.parse(text)
    if form in ("kubernetes", "github-actions"):
        list(yaml.safe_load_all(text_of(form, made)))
    environment |= {"BACKFILL_LEDGER": "", "BACKFILL_LEDGER_FILE": str(tmp_path / "url")}
    (tmp_path / "url").write_text("postgresql://db.example.com/backfill")
    made = plan_job(tmp_path / "orders.yaml", Flags(), Options("2:30"), environment)
    assert made.ledger_file == tmp_path / "url"


def test_every_variable_of_a_run_is_passed_on(tmp_path: Path) -> None:
    package = ROOT / "backfill"
    read = {
        name
        for file in (package / "settings.py", *(package / "cli").glob("*.py"))
        for name in re.findall(r"BACKFILL_[A-Z_]*[A-Z]", file.read_text())
    }
    # The state by itself, --ping and the ledger's URL in files; completion is the shell's.
    apart = {"STATE", "PING", "COMPLETE", "LEDGER", "LEDGER_FILE"}
    assert read - {f"BACKFILL_{name}" for name in apart} == set(_VARIABLES)
    (tmp_path / "orders.yaml").write_text(MAPPING)
    values = {"ENDPOINT": "bulk", "RATE": "20", "CONCURRENCY": "4", "NOT_NEWER_THAN": "72h", "STATE": "/srv/state"}
    values["MIN_ROWS"] = "10"
    environment = {"REDO_STORE_ID": STORE, **{f"BACKFILL_{name}": value for name, value in values.items()}}

    def words(flags: Flags) -> list[str]:
        return plan_job(tmp_path / "orders.yaml", flags, Options("02:00"), environment).run()

    told = words(Flags())
    for name, value in values.items():
        assert told[told.index(f"--{name.lower().replace('_', '-')}") + 1] == value
    # What is said to the command comes before.
    told = words(Flags(not_newer_than="0h", min_rows=20))
    assert told[told.index("--not-newer-than") + 1] == "0h"
    assert told[told.index("--min-rows") + 1] == "20"


def test_settings_of_which_a_run_would_not_begin(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(MAPPING)
    for flags, ping, more, said in (
        (Flags(), "foo", {}, "not an http or https URL"),
        (Flags(), None, {"BACKFILL_PING": "foo"}, "not an http or https URL"),
        (Flags(not_newer_than="soon"), None, {}, '--not-newer-than: "soon"'),
        (Flags(), None, {"BACKFILL_NOT_NEWER_THAN": "soon"}, 'BACKFILL_NOT_NEWER_THAN: "soon"'),
        (Flags(), None, {"BACKFILL_PING_FILE": "/nowhere"}, "BACKFILL_PING_FILE: can't read /nowhere: No such file"),
        (Flags(), None, {"BACKFILL_RATE": "fast"}, "BACKFILL_RATE: 'fast' is not a number"),
        (Flags(), None, {"BACKFILL_RATE": "0"}, "rate 0: must be more than 0"),
        (Flags(), None, {"BACKFILL_ENDPOINT": "both"}, "the endpoint 'both' is not known"),
        (Flags(), None, {"BACKFILL_CONCURRENCY": "0.5"}, "concurrency 0.5: at least 1 request"),
        (Flags(), None, {"BACKFILL_MIN_ROWS": "-1"}, "BACKFILL_MIN_ROWS: '-1' is not a whole number"),
        (Flags(store="a/b"), None, {}, "the store id 'a/b' can't be one"),
    ):
        with pytest.raises(SettingsError, match=said) as raised:
            plan_job(tmp_path / "orders.yaml", flags, Options("02:00", ping=ping), {"REDO_STORE_ID": STORE, **more})
        assert raised.value.hint


MANY = MAPPING + 'delivery:\n  store: "{shop}"\n'


def test_many_stores_need_no_store_id(tmp_path: Path) -> None:
    mapping = tmp_path / "orders.yaml"
    mapping.write_text(MANY)
    for form in FORMS:
        texts = "".join(render(plan_job(mapping, Flags(), Options("02:00"), {}), form, YEAR).values())
        assert "--store" not in texts
    one = plan_job(mapping, Flags(store=STORE), Options("02:00"), {})
    assert one.run()[-2:] == ["--store", STORE]


def test_many_stores_with_a_secret_each(tmp_path: Path) -> None:
    mapping = tmp_path / "orders.yaml"
    mapping.write_text(MANY + '  secrets: {file: "secrets/{store}"}\n')
    made = plan_job(mapping, Flags(), Options("02:00"), {})
    (cron,) = render(made, "cron", YEAR).values()
    assert "where the mapping says: secrets/{store}" in cron
    assert "REDO_API_SECRET_FILE" not in cron
    assert "redo-secret.txt" not in cron
    for form in FORMS:
        if form != "cron":
            with pytest.raises(UsageError, match="keeps one secret") as raised:
                render(made, form, YEAR)
            assert raised.value.hint


def test_the_age_is_said_to_the_command_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "orders.yaml").write_text(MAPPING)
    said = ["--at", "02:00", "--as", "cron", "--store", STORE, "--not-newer-than", "3d"]
    assert backfill.main(["schedule", str(tmp_path / "orders.yaml"), *said], standalone_mode=False) == 0
    *above, line = capsys.readouterr().out.splitlines()
    assert "--not-newer-than 3d" in line
    assert any("backfill schedule" in one and "--not-newer-than 3d" in one for one in above)


def test_the_switchs_address_stands_in_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "orders.yaml").write_text(MAPPING)
    said = ["--at", "02:00", "--store", STORE, "--ping", "https://hc-ping.com/7f3a"]
    for form in FORMS:
        words = ["schedule", str(tmp_path / "orders.yaml"), "--as", form, *said]
        assert backfill.main(words, standalone_mode=False) == 0
        text = capsys.readouterr().out
        assert "7f3a" not in text
        # The way to write it anew has one of its own.
        assert "--ping https://hc-ping.com/ " in text
        assert "switch" in text


def test_what_no_schedule_can_hold(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(MAPPING)

    def plan(at: str = "02:00", name: str = "orders.yaml", **options: object) -> Job:
        environment = {"REDO_STORE_ID": STORE, "TZ": "Nowhere/Land"}
        return plan_job(tmp_path / name, Flags(), Options(at, **options), environment)

    for at in ("24:00", "2", "02:60", "noon", "02:00:00", "\u0660\u0662:\u0660\u0660"):
        with pytest.raises(UsageError, match="no time of day"):
            plan(at)
    with pytest.raises(UsageError, match="no such time zone") as raised:
        plan(timezone="Europe/Berln")
    assert raised.value.hint == 'did you mean "Europe/Berlin"?'
    for zone in ("../etc/passwd", "Europe", "/etc/localtime"):
        with pytest.raises(UsageError, match="no such time zone"):
            plan(timezone=zone)
    (tmp_path / "a\nb.yaml").write_text(MAPPING)
    with pytest.raises(UsageError, match="not seen"):
        plan(name="a\nb.yaml")
    with pytest.raises(UsageError, match="not seen"):
        plan(metrics_file=Path("/var/lib/\u202e.prom"))
    with pytest.raises(SettingsError, match="no store is given"):
        plan_job(tmp_path / "orders.yaml", Flags(), Options("02:00"), {})


def test_zones(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Asia/Kathmandu")
    assert machine_zone({"TZ": ":Europe/Berlin"}, link) == "Europe/Berlin"
    assert machine_zone({"TZ": "no zone"}, link) == "Asia/Kathmandu"
    assert machine_zone({}, tmp_path / "nothing") == "UTC"
    assert utc_times(time_of_day(2), "Europe/Berlin", YEAR) == ("01:00", "00:00")
    assert utc_times(time_of_day(2), "Australia/Sydney", YEAR) == ("16:00", "15:00")
    assert utc_times(time_of_day(2), "Asia/Kathmandu", YEAR) == ("20:15", "20:15")


def test_into_a_file_or_a_folder(tmp_path: Path) -> None:
    crontab, units = render(PLAIN, "cron", YEAR), render(PLAIN, "systemd", YEAR)
    place = tmp_path / "night.cron"
    assert save(crontab, place, PLAIN.mapping) == save(crontab, place, PLAIN.mapping) == [place]
    folder = tmp_path / "units"
    with pytest.raises(UsageError, match="is no folder"):
        save(units, folder, PLAIN.mapping)
    folder.mkdir()
    assert save(units, folder, PLAIN.mapping) == [folder / "backfill-orders.service", folder / "backfill-orders.timer"]
    assert [path.read_text() for path in sorted(folder.iterdir())] == list(units.values())
    with pytest.raises(UsageError, match="is there already, for another mapping"):
        save(units, folder, Path("/srv/other/orders.yaml"))
    named = render(replace(PLAIN, name="Acme, Inc."), "systemd", YEAR)
    assert list(named) == ["backfill-acme-inc.service", "backfill-acme-inc.timer"]
    place.write_text("# mine\n")
    with pytest.raises(UsageError, match="not written by this command"):
        save(crontab, place, PLAIN.mapping)
    assert place.read_text() == "# mine\n"
    with pytest.raises(StorageError, match="can't write"):
        save(crontab, tmp_path / "missing" / "night.cron", PLAIN.mapping)


def test_the_command(lone_shop: Shop) -> None:
    lone_shop.env["PYTHONPATH"] = str(ROOT)
    lone_shop.mapping()
    words = ["schedule", "orders.yaml", "--at", "02:00", "--as", "systemd"]
    assert lone_shop.do(*words, "-o", ".").out == "backfill-orders.service\nbackfill-orders.timer\n"
    assert lone_shop.do(*words, "--timezone", "Europe/Berln", status=2).err.endswith('did you mean "Europe/Berlin"?\n')
