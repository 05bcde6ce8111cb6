"""What is to run each night: the command with every path spelled out, since a scheduler has no folder and no shell."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import sys
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from datetime import time
from pathlib import Path

from backfill import mapping as mappings
from backfill.errors import SettingsError, UsageError
from backfill.mapping import Delivery
from backfill.ping import ping_said, ping_url
from backfill.printable import printable
from backfill.schedule.zones import checked_zone, machine_zone
from backfill.send import Target, check_base_url
from backfill.settings import Flags, ledger_url, resolve, state_folder
from backfill.stores import column_of

__all__ = ["Job", "Options", "elsewhere", "plan_job"]

# Environment variables that `run` reads and a scheduler does not have: they become flags.
_VARIABLES = {
    "BACKFILL_ENDPOINT": "--endpoint",
    "BACKFILL_RATE": "--rate",
    "BACKFILL_CONCURRENCY": "--concurrency",
    "BACKFILL_NOT_NEWER_THAN": "--not-newer-than",
    "BACKFILL_MIN_ROWS": "--min-rows",
    "BACKFILL_RUNS_TO": "--runs-to",
}
# The longest name of a CronJob is 52 letters; "backfill-" stands before this.
_SLUG = 43


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said about the schedule. `again` is that command line, for the file's first lines."""

    at: str
    timezone: str | None = None
    ping: str | None = None
    metrics_file: Path | None = None
    again: tuple[str, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A nightly run. Paths are absolute; `options` are those of `run`, but for the mapping, --state and the metrics.

    `ping_file` is where the address of the dead man's switch will be, if there is one: who knows it can keep the switch
    quiet, so that it stands in no schedule. `ledger_file` holds the URL of the ledger's database, which may hold a
    password; None without such a ledger.
    """

    mapping: Path
    text: str
    files: tuple[str, ...]
    program: tuple[str, ...]
    interpreter: Path
    options: tuple[str, ...]
    state: Path
    state_given: bool
    secret_file: Path
    metrics_file: Path | None
    ping_file: Path | None
    at: time
    zone: str | None
    machine: str
    owner: str
    again: tuple[str, ...]
    name: str
    ledger_file: Path | None = None
    # Where the secrets of many stores are, as the mapping says it; `secret_file` is then nobody's.
    own_secrets: str | None = None

    @property
    def slug(self) -> str:
        """The job's name in the letters that every scheduler takes in names."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower())[:_SLUG].strip("-")
        return slug or hashlib.sha256(self.name.encode()).hexdigest()[:8]

    @property
    def zone_name(self) -> str:
        """The zone that was asked for, else the machine's."""
        return self.zone or self.machine

    def run(self, *more: str, mapping: str | None = None, state: str | None = None) -> list[str]:
        """The words after `backfill`."""
        metrics = ["--metrics-file", str(self.metrics_file)] if self.metrics_file else []
        return ["run", mapping or str(self.mapping), "--yes", "--state", state or str(self.state),
                *self.options, *metrics, *more]  # fmt: skip

    def status(self, *, mapping: str | None = None, state: str | None = None) -> list[str]:
        """The words after `backfill` that show whether it works."""
        return ["status", mapping or str(self.mapping), "--state", state or str(self.state)]


def plan_job(mapping: Path, flags: Flags, options: Options, environment: MappingOf[str, str] = os.environ) -> Job:
    """The nightly run of a mapping, with the settings that hold now.

    Raises MappingError for a mapping that is wrong, SettingsError for one without a store and for settings that can't
    be, UsageError for what no schedule can hold.
    """
    loaded = mappings.load(mapping)
    ping = options.ping or environment.get("BACKFILL_PING") or ping_said(environment)
    _would_begin(mapping, loaded.delivery, flags, environment, ping)
    words = _words(flags, environment)
    path = _absolute(mapping)
    state = _absolute(state_folder(mapping, flags, environment))
    secret = environment.get("REDO_API_SECRET_FILE")
    address = environment.get("BACKFILL_LEDGER_FILE")
    ledger = Path(address) if address and not flags.ledger else path.parent / "ledger-url.txt"
    job = Job(
        mapping=path,
        text=mapping.read_text(encoding="utf-8-sig"),
        # Where they lie is all that counts here, and of a `{store}` it is what stands before it.
        files=tuple(entry.replace("{store}", "*") for entry in loaded.source.files),
        program=_program(),
        interpreter=Path(sys.executable).resolve(),
        options=tuple(words),
        state=state,
        state_given=bool(flags.state or environment.get("BACKFILL_STATE")),
        secret_file=_absolute(Path(secret)) if secret else path.parent / "redo-secret.txt",
        ledger_file=_absolute(ledger) if ledger_url(flags, environment) else None,
        metrics_file=_absolute(options.metrics_file) if options.metrics_file else None,
        ping_file=_ping_file(path, options.name, environment) if ping else None,
        at=_time(options.at),
        zone=checked_zone(options.timezone) if options.timezone else None,
        machine=machine_zone(environment),
        owner=_owner(state if state.exists() else path),
        again=options.again,
        name=options.name or path.stem,
        own_secrets=loaded.delivery.secrets.file if loaded.delivery.secrets else None,
    )
    files = (str(job.secret_file), str(job.ping_file), str(job.ledger_file))
    for word in (*job.program, *job.run(), *job.again, *files):
        if word != printable(word) or "\n" in word or "\t" in word:
            raise UsageError(
                f"{word!r} has a letter that is not seen, such as a line break, and no schedule can hold it",
                hint="give the file or folder another name",
            )
    return job


def _would_begin(
    mapping: Path, delivery: Delivery, flags: Flags, environment: MappingOf[str, str], ping: str | None
) -> None:
    """What a run would not begin with is said now, not at night. Raises SettingsError."""
    store = flags.store or environment.get("REDO_STORE_ID")
    if not (store or delivery.store):
        raise SettingsError(
            "no store is given, and a scheduler has no REDO_STORE_ID",
            hint="set delivery.store in the mapping, REDO_STORE_ID or --store",
        )
    if delivery.secrets and delivery.secrets.env:
        raise SettingsError(
            "delivery.secrets.env: a scheduler has none of these variables",
            hint='put each store\'s secret in a file, as in secrets: {file: "secrets/{store}"}',
        )
    if ping:
        ping_url(ping)
    # Of many stores each is looked at when it is known. The secret is not there yet.
    one = flags if column_of(delivery) is None or store else replace(flags, store="-")
    settings = resolve(mapping, delivery, one, {**environment, "REDO_API_SECRET": "none"})
    Target(settings.base_url, settings.store, settings.secret)


def _words(flags: Flags, environment: MappingOf[str, str]) -> list[str]:
    """The options of the run that the settings of now ask for."""
    base_url = flags.base_url or environment.get("REDO_BASE_URL")
    said = {
        "--not-newer-than": flags.not_newer_than,
        "--min-rows": str(flags.min_rows) if flags.min_rows is not None else None,
    }
    words: list[str] = []
    for flag, value in [
        ("--store", flags.store or environment.get("REDO_STORE_ID")),
        ("--base-url", check_base_url(base_url) if base_url else None),
        *((flag, said.get(flag) or environment.get(variable)) for variable, flag in _VARIABLES.items()),
    ]:
        words += [flag, value] if value else []
    return words


def _ping_file(mapping: Path, name: str | None, environment: MappingOf[str, str]) -> Path:
    if file := environment.get("BACKFILL_PING_FILE"):
        return _absolute(Path(file))
    return mapping.parent / f"{name or mapping.stem}-ping.txt"


def elsewhere(job: Job) -> str:
    """The address that it sends to, if that is not Redo's."""
    words = job.options
    return words[words.index("--base-url") + 1] if "--base-url" in words else ""


def _time(text: str) -> time:
    if not (found := re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text, re.ASCII)):
        raise UsageError(f"--at {text}: is no time of day", hint="as in --at 02:00, or --at 23:30")
    return time(int(found[1]), int(found[2]))


def _absolute(path: Path) -> Path:
    """Without following links: a mapping finds its export by where it is said to be."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100


def _program() -> tuple[str, ...]:
    """The words that start this backfill from anywhere."""
    called = Path(sys.argv[0])
    beside = Path(sys.executable).with_name("backfill")
    for found in (called if called.name == "backfill" else None, beside, shutil.which("backfill")):
        if found and os.access(found, os.X_OK) and Path(found).is_file():
            return (str(_absolute(Path(found))),)
    return (sys.executable, "-c", "from backfill.cli import main; main()")


def _owner(path: Path) -> str:
    """Whose ledger it is: the user that has to run the command."""
    number = path.stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
