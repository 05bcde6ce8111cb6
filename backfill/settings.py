"""What a run needs to know beside the mapping: a flag beats an environment variable beats the mapping."""

from __future__ import annotations

import os
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from pathlib import Path

from backfill import api
from backfill.copies import place_of_copies
from backfill.errors import SettingsError
from backfill.mapping import Delivery, DurationError, parse_duration
from backfill.send import check_base_url

__all__ = [
    "DEFAULT_RATE",
    "SANDBOX_STORE",
    "SANDBOX_URL",
    "Flags",
    "Settings",
    "kept_back",
    "ledger_url",
    "resolve",
    "secret_from",
    "state_folder",
]

STATE_FOLDER = ".backfill"
# The ledger's name for the sandbox inside a run: its port is another each time.
SANDBOX_URL = "http://localhost/sandbox"
SANDBOX_STORE = "sandbox"
DEFAULT_RATE = 95.0
MOST_CONCURRENCY = 64
_LEAVE_OUT = "leave it out, and the default is taken"


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line said; None where it said nothing."""

    store: str | None = None
    base_url: str | None = None
    endpoint: str | None = None
    rate: float | None = None
    concurrency: int | None = None
    limit: int | None = None
    limit_each: int | None = None
    not_newer_than: str | None = None
    min_rows: int | None = None
    sandbox: bool = False
    yes: bool = False
    retry_rejected: bool = False
    new_ids: bool = False
    reread: bool = False
    ray: str | None = None
    state: Path | None = None
    runs_to: str | None = None
    ledger: str | None = field(default=None, repr=False)
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run delivers. `rate` is in requests/s, `limit` in events, `limit_each` in events of each name;
    `not_newer_than` is the age (`72h`) below which events are kept back, or ""; `min_rows` is how many rows the export
    has to hold. `runs_to` is where the run's folder is copied, or "".
    `ledger` is the URL of a PostgreSQL database, None for the file in the state folder. Neither the secret nor that,
    which may hold one, is in a repr.
    """

    store: str
    base_url: str
    bulk: bool
    rate: float
    concurrency: int
    state: Path
    secret: str = field(repr=False)
    ledger: str | None = field(default=None, repr=False)
    limit: int | None = None
    limit_each: int | None = None
    not_newer_than: str = ""
    min_rows: int | None = None
    runs_to: str = ""
    sandbox: bool = False
    consent: bool = False
    retry_rejected: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def is_part(self) -> bool:
        """Whether the run is a canary: it may leave out what could be sent."""
        return self.limit is not None or self.limit_each is not None

    def requests(self, events: int) -> int:
        """Requests for so many events."""
        return -(-events // api.BULK_EVENTS) if self.bulk else events


def state_folder(mapping: Path, flags: Flags, environment: MappingOf[str, str] = os.environ) -> Path:
    """Where the ledger and the runs of a mapping are."""
    named = flags.state or (Path(environment["BACKFILL_STATE"]) if environment.get("BACKFILL_STATE") else None)
    folder = named or mapping.resolve().parent / STATE_FOLDER
    return folder / "sandbox" if flags.sandbox else folder


def ledger_url(flags: Flags, environment: MappingOf[str, str] = os.environ) -> str | None:
    """The PostgreSQL database that holds the ledger; None for the file in the state folder, as every rehearsal has it
    that names none.
    """
    if flags.ledger or flags.sandbox:
        return flags.ledger or None
    if url := environment.get("BACKFILL_LEDGER"):
        return url.strip()
    if file := environment.get("BACKFILL_LEDGER_FILE"):
        return _text_of("BACKFILL_LEDGER_FILE", file, "the ledger's URL")
    return None


def resolve(mapping: Path, delivery: Delivery, flags: Flags, environment: MappingOf[str, str] = os.environ) -> Settings:
    """The settings of a run. Raises SettingsError for what is missing or can't be."""
    declared = delivery.store if isinstance(delivery.store, str) else None
    store = flags.store or environment.get("REDO_STORE_ID") or declared
    if flags.sandbox:
        store = store or SANDBOX_STORE
    if not store:
        raise SettingsError(
            "no store is given", hint="set REDO_STORE_ID, --store, or delivery.store; or try --sandbox first"
        )
    base_url = (
        SANDBOX_URL
        if flags.sandbox
        else check_base_url(flags.base_url or environment.get("REDO_BASE_URL") or api.BASE_URL)
    )
    endpoint = flags.endpoint or environment.get("BACKFILL_ENDPOINT") or delivery.endpoint
    if endpoint not in ("single", "bulk"):
        raise SettingsError(f"the endpoint {endpoint!r} is not known", hint="single or bulk")
    rate = _number("rate", flags.rate, environment.get("BACKFILL_RATE"), delivery.rate, DEFAULT_RATE)
    concurrency = _number(
        "concurrency", flags.concurrency, environment.get("BACKFILL_CONCURRENCY"), delivery.concurrency,
        MOST_CONCURRENCY,
    )  # fmt: skip
    if concurrency < 1:
        raise SettingsError(f"concurrency {concurrency:g}: at least 1 request must be in flight", hint=_LEAVE_OUT)
    for option, limit in (("--limit", flags.limit), ("--limit-each", flags.limit_each)):
        if limit is not None and limit < 1:
            raise SettingsError(f"{option} {limit}: at least 1 event must be sent", hint=_LEAVE_OUT)
    warnings: list[str] = []
    if rate > api.REQUESTS_PER_SECOND:
        warnings.append(
            f"rate {rate:g}/s: the store takes {api.REQUESTS_PER_SECOND} requests/s, live traffic included; "
            "expect 429 answers"
        )
    if concurrency > MOST_CONCURRENCY:
        warnings.append(f"concurrency {concurrency:g}: at most {MOST_CONCURRENCY} requests are under way at once")
        concurrency = MOST_CONCURRENCY
    return Settings(
        store=store,
        base_url=base_url,
        bulk=endpoint == "bulk",
        rate=rate,
        concurrency=int(concurrency),
        state=state_folder(mapping, flags, environment),
        secret="sandbox" if flags.sandbox else secret_from(environment),
        ledger=ledger_url(flags, environment),
        limit=flags.limit,
        limit_each=flags.limit_each,
        not_newer_than=kept_back(delivery, flags, environment),
        min_rows=_min_rows(flags, environment),
        runs_to=_runs_to(flags, environment, warnings),
        sandbox=flags.sandbox,
        consent=flags.yes or flags.sandbox or delivery.flows == "acknowledged",
        retry_rejected=flags.retry_rejected,
        warnings=tuple(warnings),
    )


def _runs_to(flags: Flags, environment: MappingOf[str, str], warnings: list[str]) -> str:
    """Where the run's folder is copied; "" when it is not, as that of a rehearsal."""
    text = flags.runs_to or environment.get("BACKFILL_RUNS_TO")
    if not text:
        return ""
    found = place_of_copies(text, "--runs-to" if flags.runs_to else "BACKFILL_RUNS_TO")
    if flags.sandbox:
        warnings.append("a rehearsal's folder is not copied (--runs-to)")
        return ""
    return found


def kept_back(delivery: Delivery, flags: Flags, environment: MappingOf[str, str] = os.environ) -> str:
    """The age (`72h`) below which events are kept back; "" when none are."""
    said = (
        ("--not-newer-than", flags.not_newer_than),
        ("BACKFILL_NOT_NEWER_THAN", environment.get("BACKFILL_NOT_NEWER_THAN")),
        ("delivery.not_newer_than", delivery.not_newer_than),
    )
    where, text = next(((where, text) for where, text in said if text), ("", ""))
    if not text:
        return ""
    try:
        return text if parse_duration(text) else ""
    except DurationError as error:
        raise SettingsError(f'{where}: "{text}" {error}', hint=error.hint) from None


def _min_rows(flags: Flags, environment: MappingOf[str, str]) -> int | None:
    variable = environment.get("BACKFILL_MIN_ROWS")
    if flags.min_rows is None and variable and not variable.isdecimal():
        raise SettingsError(f"BACKFILL_MIN_ROWS: {variable!r} is not a whole number", hint=_LEAVE_OUT)
    found = int(variable) if flags.min_rows is None and variable else flags.min_rows
    if found is not None and found < 1:
        raise SettingsError(f"--min-rows {found}: at least 1 row can be asked for", hint=_LEAVE_OUT)
    return found


def _number(name: str, flag: float | None, variable: str | None, declared: float | None, default: float) -> float:
    value = flag
    if value is None and variable:
        try:
            value = float(variable)
        except ValueError as error:
            raise SettingsError(f"BACKFILL_{name.upper()}: {variable!r} is not a number", hint=_LEAVE_OUT) from error
    value = next(found for found in (value, declared, default) if found is not None)
    if not 0 < value < 1e6:
        raise SettingsError(f"{name} {value:g}: must be more than 0", hint=_LEAVE_OUT)
    return value


def secret_from(environment: MappingOf[str, str]) -> str:
    """The secret of REDO_API_SECRET or REDO_API_SECRET_FILE. Raises SettingsError when there is none."""
    if environment.get("REDO_API_SECRET"):
        return environment["REDO_API_SECRET"].strip()
    if file := environment.get("REDO_API_SECRET_FILE"):
        return _text_of("REDO_API_SECRET_FILE", file, "the secret")
    raise SettingsError(
        "there is no secret",
        hint="set REDO_API_SECRET (a key with the scope customer_events_write) or REDO_API_SECRET_FILE",
    )


def _text_of(variable: str, file: str, what: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(
            f"{variable}: can't read {file}: {reason}",
            hint=f"give the path of a file that holds {what} and that you may read",
        ) from None
