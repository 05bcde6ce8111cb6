"""`backfill schedule`: each scheduler's own validator takes its file, and what stands in it is run for real."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from zoneinfo import ZoneInfo

import kubernetes_validate
import pytest
import yaml
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from backfill.cli import backfill
from backfill.errors import SettingsError, StorageError, UsageError
from backfill.sandbox import SandboxThread
from backfill.schedule import FORMS, Job, Options, plan_job, render, save
from backfill.schedule.forms import _block
from backfill.schedule.job import _VARIABLES
from backfill.schedule.quoting import (
    cron_words,
    kubernetes_list,
    shell_words,
    systemd_command,
    systemd_words,
    yaml_text,
)
from backfill.schedule.zones import machine_zone, utc_times
from backfill.settings import Flags
from tests.conftest import Require
from tests.end_to_end import conftest as shops
from tests.end_to_end.support import COMMAND, SECRET, STORE, Shop

ROOT = Path(__file__).resolve().parent.parent
YEAR = 2026
box, lone_shop, start = shops.box, shops.lone_shop, shops.start
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
        ping=None,
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
    ping="https://ping.example.com/7f3a",
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


# ----------------------------------------------------------------------------------------------------- what people read


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
        "metrics file /var/lib/metrics/b.prom", "ping https://ping.example.com/7f3a",
    ):  # fmt: skip
        assert wanted in words, wanted


@pytest.mark.parametrize("form", FORMS)
def test_the_ledgers_address_is_a_secret(form: str, tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(MAPPING)
    environment = {"REDO_STORE_ID": STORE, "BACKFILL_LEDGER": f"postgresql://me:{SECRET}@db.example.com/backfill"}
    made = plan_job(tmp_path / "orders.yaml", Flags(), Options("2:30"), environment)
    text = written(form, made)
    assert SECRET not in text
    assert "db.example.com" not in text
    told = {
        "cron": f"BACKFILL_LEDGER_FILE={tmp_path}/ledger-url.txt /",
        "systemd": "\nEnvironment=BACKFILL_LEDGER_FILE=%d/backfill-ledger-url\nLoadCredentialEncrypted=backfill-ledger-url:",
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
    # --state and --ping are passed on by themselves, the ledger's URL as a secret; completion is the shell's.
    apart = {"STATE", "PING", "COMPLETE", "LEDGER", "LEDGER_FILE"}
    assert read - {f"BACKFILL_{name}" for name in apart} == set(_VARIABLES)
    (tmp_path / "orders.yaml").write_text(MAPPING)
    values = {"ENDPOINT": "bulk", "RATE": "20", "CONCURRENCY": "4", "NOT_NEWER_THAN": "72h", "STATE": "/srv/state"}
    values["PING"] = "https://ping.example.com/7f3a"
    environment = {"REDO_STORE_ID": STORE, **{f"BACKFILL_{name}": value for name, value in values.items()}}

    def words(flags: Flags, **options: str) -> list[str]:
        return plan_job(tmp_path / "orders.yaml", flags, Options("02:00", **options), environment).run()

    told = words(Flags())
    for name, value in values.items():
        assert told[told.index(f"--{name.lower().replace('_', '-')}") + 1] == value
    # What is said to the command comes before.
    told = words(Flags(not_newer_than="0h"), ping="https://ping.example.com/mine")
    assert told[told.index("--not-newer-than") + 1] == "0h"
    assert told[told.index("--ping") + 1] == "https://ping.example.com/mine"


def test_settings_of_which_a_run_would_not_begin(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(MAPPING)
    for flags, ping, more, said in (
        (Flags(), "foo", {}, "not an http or https URL"),
        (Flags(), None, {"BACKFILL_PING": "foo"}, "not an http or https URL"),
        (Flags(not_newer_than="soon"), None, {}, '--not-newer-than: "soon"'),
        (Flags(), None, {"BACKFILL_NOT_NEWER_THAN": "soon"}, 'BACKFILL_NOT_NEWER_THAN: "soon"'),
    ):
        with pytest.raises(SettingsError, match=said) as raised:
            plan_job(tmp_path / "orders.yaml", flags, Options("02:00", ping=ping), {"REDO_STORE_ID": STORE, **more})
        assert raised.value.hint


def test_the_age_is_said_to_the_command_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "orders.yaml").write_text(MAPPING)
    said = ["--at", "02:00", "--as", "cron", "--store", STORE, "--not-newer-than", "3d"]
    assert backfill.main(["schedule", str(tmp_path / "orders.yaml"), *said], standalone_mode=False) == 0
    *above, line = capsys.readouterr().out.splitlines()
    assert "--not-newer-than 3d" in line
    assert any("backfill schedule" in one and "--not-newer-than 3d" in one for one in above)


# --------------------------------------------------------------------------------------------------------- their words

WORDS = st.lists(
    st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=12).filter(lambda t: t[0] != "-"),
    min_size=1,
    max_size=4,
) | st.lists(st.text("\\%\"'$`{}() #=;*é", min_size=1, max_size=9), min_size=1, max_size=4)


@given(words=WORDS)
def test_words_arrive_as_they_are(words: list[str]) -> None:
    line = f"0 2 * * * {cron_words(words)}"
    for double in (False, True):
        assert shlex.split(cron_command(line, double=double)) == words
    assert shlex.split(shell_words(words)) == words
    assert systemd_split(systemd_words(words)) == words
    assert systemd_split(systemd_command(words))[-len(words) :] == words
    assert [word.replace("$$(", "$(") for word in yaml.safe_load(f"[{', '.join(kubernetes_list(words))}]")] == words
    assert [ast.literal_eval(yaml_text(word)) for word in words] == words


def test_words_arrive_through_a_shell() -> None:
    words = [AWKWARD, *AWKWARD.split(" "), "'", '"', "\\", "%", "\\%", "\\\\", "a'b\\c"]
    for double in (False, True):
        command = "printf '[%s]' " + cron_command(f"0 2 * * * {cron_words(words)}", double=double)
        shown = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout
        assert shown == "".join(f"[{word}]" for word in words)


@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.text("a: '\"|\n\t #-\r", max_size=30))
def test_a_mapping_in_a_config_map_is_the_mapping(text: str) -> None:
    assert yaml.safe_load(f"data:\n  text: {_block(text, '    ')}\n") == {"data": {"text": text}}


# ---------------------------------------------------------------------------------------------------------------- cron


def test_cron_runs_at_that_time() -> None:
    *_, line = text_of("cron").splitlines()
    assert next(CronSim(" ".join(line.split(" ")[:5]), datetime(2026, 3, 1, 12, tzinfo=UTC))) == datetime(
        2026, 3, 2, 2, 30, tzinfo=UTC
    )
    assert "CRON_TZ" not in text_of("cron")
    assert "\nCRON_TZ=America/New_York\n" in text_of("cron", WATCHED)
    for above in text_of("cron", WATCHED).splitlines()[:-1]:
        assert above.startswith(("#", "CRON_TZ="))


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A `backfill` that ends as `statuses` says, a status each time, and a `sleep` that notes for how long."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in {
        "backfill": 'echo "backfill $*"; echo "run $REDO_API_SECRET_FILE" >> log; set -- $(cat statuses)\n'
        'status=$1; shift; echo "$*" > statuses; exit "$status"',
        "sleep": 'echo "sleep $1" >> log',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


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


def test_cron_says_nothing_when_all_is_well_and_tries_again_when_it_helps(stub: Path) -> None:
    made = job(program=(str(stub / "backfill"),), state=stub.parent / "state", secret_file=Path("secret"))
    command = ["/bin/sh", "-c", cron_command(text_of("cron", made), double=False)]
    run = "run secret"
    assert outcome(command, stub, "0") == (0, "", [run])
    assert outcome(command, stub, "75 11 0") == (0, "", [run, "sleep 900", run, "sleep 900", run])
    for status in (3, 65, 77, 78):
        ended, said, log = outcome(command, stub, f"{status} 0")
        assert (ended, log) == (status, [run])
        assert said.startswith("backfill run ")
        assert said.endswith(f"exit status {status}\n")
    ended, said, log = outcome(command, stub, "75 75 75 75 75 75 75")
    assert ended == 75
    assert "exit status 75" in said
    assert log.count(run) == 6
    assert (stub.parent / "state").stat().st_mode & 0o777 == 0o700
    assert (stub.parent / "state/cron.log").stat().st_mode & 0o777 == 0o600


def test_a_crontab_line_has_an_end() -> None:
    with pytest.raises(UsageError, match="a line of a crontab holds 998") as raised:
        render(job(state=Path("/" + "deep/" * 200)), "cron", YEAR)
    assert "systemd" in raised.value.hint


# ------------------------------------------------------------------------------------------------------------- systemd


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


# ---------------------------------------------------------------------------------------------------------- Kubernetes


@pytest.mark.parametrize(
    "made", [PLAIN, WATCHED, job(files=("orders.csv",)), job(mapping=Path("/srv/注文.yaml"))], ids=range(4)
)
def test_kubernetes_takes_the_manifest(made: Job) -> None:
    documents = list(yaml.safe_load_all(text_of("kubernetes", made)))
    for document in documents:
        for version in ("1.31.0", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(document, version, strict=True)
    names = [document["metadata"]["name"] for document in documents]
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", name) for name in names)
    cronjob = documents[-1]["spec"]
    assert cronjob["timeZone"] == made.zone_name
    assert documents[0]["data"]["mapping.yaml"] == MAPPING
    claims = {d["metadata"]["name"] for d in documents if d["kind"] == "PersistentVolumeClaim"}
    pod = cronjob["jobTemplate"]["spec"]["template"]["spec"]
    assert claims == {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


@pytest.mark.parametrize(
    "files, mounted, read_only",
    [
        (("exports/orders_*.csv",), "/import/exports", True),
        (("orders.csv",), "/import", False),
        (("2023.csv.gz", "older/"), "/import", False),
        (("exports/a/x.csv", "exports/b/*.csv"), "/import/exports", True),
        (("/data/exports/year=*/*.parquet",), "/data/exports", True),
        (("../exports/orders.csv", "s3://exports.example.com/x.csv"), "/exports", True),
        (("s3://exports.example.com/x.csv",), None, None),
    ],
)
def test_kubernetes_has_the_exports_where_the_mapping_looks(files, mounted, read_only) -> None:
    mounts = {m["name"]: m for m in container(text_of("kubernetes", job(files=files)))["volumeMounts"]}
    if mounted is None:
        assert "exports" not in mounts
    else:
        assert (mounts["exports"]["mountPath"], mounts["exports"].get("readOnly", False)) == (mounted, read_only)
        assert mounts["mapping"]["mountPath"] == "/import/mapping.yaml"


def test_kubernetes_needs_one_volume() -> None:
    with pytest.raises(UsageError, match="nothing in common"):
        render(job(files=("/data/*.csv", "exports/*.csv")), "kubernetes", YEAR)


def test_kubernetes_runs_it(stub: Path) -> None:
    made = container(text_of("kubernetes"))
    (stub.parent / "log").touch()
    shell, flag, script, name = made["command"]
    script = script.replace("/dev/termination-log", "message")
    command = [shell, flag, script, name, *made["args"]]
    assert outcome(command, stub, "0")[0] == 0
    ended, said, _ = outcome(command, stub, "3")
    assert (ended, (stub.parent / "message").read_text()) == (0, "done; some rows were rejected: see the log\n")
    assert said.startswith(f"backfill run /import/mapping.yaml --yes --state /state/backfill --store {STORE}\n")
    assert outcome(command, stub, "75")[0] == 75


def test_kubernetes_passes_the_signal_on(tmp_path: Path) -> None:
    program = tmp_path / "backfill"
    program.write_text(
        "#!/bin/sh\ntrap 'sleep 0.2; echo drained; exit 143' TERM\necho up\nwhile :; do sleep 0.05; done\n"
    )
    program.chmod(0o755)
    script = container(text_of("kubernetes"))["command"][2]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(
        ["/bin/sh", "-c", script, "backfill", "run"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "drained\n"
    assert process.returncode == 143


# -------------------------------------------------------------------------------------------------------------- GitHub


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
    assert (ended, log[1]) == (0, "sleep 900")
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


# ------------------------------------------------------------------------------------------------------------- Airflow


class Hook:
    """Airflow's hook for processes, as far as the file uses it."""

    status = 0

    def run_command(self, command: list[str], env: dict[str, str]) -> types.SimpleNamespace:
        assert env["REDO_API_SECRET"] == SECRET
        assert command == ["/opt/backfill/bin/backfill", *PLAIN.run()]
        return types.SimpleNamespace(exit_code=self.status)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Stubs of Airflow 3's modules; gives what the file made with them."""
    made: dict[str, object] = {}

    class Dag:
        def __init__(self, **arguments: object) -> None:
            made["dag"] = arguments

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None: ...

    class Operator:
        log = types.SimpleNamespace(warning=lambda text: made.setdefault("warned", text))

        def __init__(self, **arguments: object) -> None:
            made["task"], made["arguments"] = self, arguments

    class Failed(Exception): ...

    class FailedForGood(Failed): ...

    connection = types.SimpleNamespace(password=SECRET)
    base_hook = types.SimpleNamespace(get_connection=lambda name: {"redo_orders": connection}[name])
    modules = {
        "airflow": {},
        "airflow.sdk": {"DAG": Dag, "BaseHook": base_hook, "BaseOperator": Operator},
        "airflow.sdk.exceptions": {"AirflowException": Failed, "AirflowFailException": FailedForGood},
        "airflow.providers": {},
        "airflow.providers.standard": {},
        "airflow.providers.standard.hooks": {},
        "airflow.providers.standard.hooks.subprocess": {"SubprocessHook": Hook},
        "pendulum": {"datetime": lambda *day, tz: datetime(*day, tzinfo=ZoneInfo(tz))},
    }
    for name, contents in modules.items():
        module = types.ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    made["failed"], made["for good"] = Failed, FailedForGood
    return made


def test_airflow_builds_the_dag(airflow: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    exec(compile(text_of("airflow"), "backfill_orders.py", "exec"), {})
    assert airflow["dag"] | {"description": ""} == {
        "dag_id": "backfill_orders",
        "description": "",
        "schedule": "30 2 * * *",
        "start_date": datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["backfill", "redo"],
    }
    assert airflow["arguments"]["retry_delay"] == timedelta(minutes=15)
    assert airflow["arguments"]["retries"] == 8
    ends = {0: None, 3: None, 11: "failed", 75: "failed", -9: "failed", 143: "failed"}
    ends |= dict.fromkeys((1, 2, 65, 70, 74, 77, 78), "for good")
    for status, end in ends.items():
        monkeypatch.setattr(Hook, "status", status)
        if end is None:
            airflow["task"].execute({})
        else:
            with pytest.raises(airflow["failed"]) as raised:
                airflow["task"].execute({})
            assert raised.type is airflow[end], status
    assert "rejected" in airflow["warned"]


@pytest.mark.slow
def test_airflow_itself_loads_the_dag(tmp_path: Path) -> None:
    python = os.environ.get("BACKFILL_AIRFLOW_PYTHON")
    if not python:
        pytest.skip("BACKFILL_AIRFLOW_PYTHON names no Python that has Airflow")
    (tmp_path / "backfill_orders.py").write_text(text_of("airflow"))
    program = (
        "import sys, runpy\nmade = runpy.run_path(sys.argv[1])\ndag = made['dag']\ntask = dag.get_task('run')\n"
        "print([dag.dag_id, str(dag.timezone), dag.catchup, dag.max_active_runs, task.retries])"
    )
    done = subprocess.run(
        [python, "-c", program, str(tmp_path / "backfill_orders.py")],
        env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "['backfill_orders', 'Europe/Berlin', False, 1, 8]"


# -------------------------------------------------------------------------------------------------------- the real thing


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


# --------------------------------------------------------------------------------------------------------- what it says


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
