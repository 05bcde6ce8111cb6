"""A job as the files of one scheduler: what the templates beside this are filled with."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from backfill.errors import UsageError
from backfill.schedule.job import Job
from backfill.schedule.quoting import (
    cron_words,
    kubernetes_list,
    shell_words,
    systemd_command,
    systemd_words,
    yaml_text,
)
from backfill.schedule.zones import utc_times

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["FORMS", "Form", "render"]

Form = Literal["cron", "systemd", "kubernetes", "github-actions", "airflow"]
FORMS: tuple[Form, ...] = get_args(Form)

# Debian's cron takes no longer command.
_CRON_LINE = 998
# Pauses in seconds before the next attempt; after the last one there is none. Four hours in all: a run has waited half
# an hour for the API itself, and where the API named a time of its own, an attempt before it is in vain.
_PAUSES = (1800, 3600, 3600, 5400, 0)
# Where things are in the container.
_IMPORT, _MAPPING, _STATE = PurePosixPath("/import"), "/import/mapping.yaml", "/state/backfill"
_TEMPORARY = tuple(map(Path, ("/tmp", "/var/tmp")))  # noqa: S108  (not made, looked for)
_HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))


def render(job: Job, form: Form, year: int) -> dict[str, str]:
    """The files of a form: name → text; `year` is for summer time. Raises UsageError for what the form can't hold."""
    if job.own_secrets and form != "cron":
        raise UsageError(
            f"--as {form} keeps one secret, and delivery.secrets has one for each store",
            hint="take --as cron, which reads the files that delivery.secrets names",
        )
    return _RENDERERS[form](job, year)


def _cron(job: Job, _year: int) -> dict[str, str]:
    words = job.run("--quiet")
    here = words.index("--state") + 1
    run = f'{cron_words([*job.program, *words[:here]])} "$state" {cron_words(words[here + 1 :])}'
    ping = f"BACKFILL_PING_FILE={cron_words([str(job.ping_file)])} " if job.ping_file else ""
    ledger = f"BACKFILL_LEDGER_FILE={cron_words([str(job.ledger_file)])} " if job.ledger_file else ""
    secret = "" if job.own_secrets else f"REDO_API_SECRET_FILE={cron_words([str(job.secret_file)])} "
    log = f"cron-{job.slug}.log"
    command = (
        f"umask 077; state={cron_words([str(job.state)])}; "
        f'log="$state/{log}"; mkdir -p "$state"; [ ! -e "$log" ] || mv "$log" "$log.1"; '
        f"for pause in {' '.join(map(str, _PAUSES))}; do "
        f"{{ date; {secret}{ledger}{ping}{run}; "
        '} >>"$log" 2>&1; status=$?; '
        'case $status in 11|75) sleep $pause;; *) break;; esac; done; '
        '[ $status -eq 0 ] || { cat "$log"; echo "exit status $status"; }; exit $status'
    )  # fmt: skip
    if len(command.encode()) > _CRON_LINE:
        raise UsageError(
            f"the command has {len(command.encode())} bytes, and a line of a crontab holds {_CRON_LINE}",
            hint="give the folders shorter names, or take --as systemd",
        )
    cron_tz = bool(job.zone and job.zone != job.machine)
    filled = _filled(
        "cron", job, command=command, tries=len(_PAUSES), cron_tz=cron_tz, percent="\\%" in command,
        secret_file=shell_words([str(job.secret_file)]), ping_file=shell_words([str(job.ping_file)]),
        log=shell_words([str(job.state / log)]),
    )  # fmt: skip
    return {f"backfill-{job.slug}.cron": filled}


def _systemd(job: Job, _year: int) -> dict[str, str]:
    unit = f"backfill-{job.slug}"
    credential = f"/etc/credstore.encrypted/{unit}.redo-api-secret"
    ping_credential = f"/etc/credstore.encrypted/{unit}.backfill-ping"
    ledger_credential = f"/etc/credstore.encrypted/{unit}.backfill-ledger-url"
    written = [job.state, *([job.metrics_file.parent] if job.metrics_file else [])]
    # The interpreter behind a virtual environment is often in a home folder (pyenv, uv).
    needed = [*written, job.mapping, Path(job.program[0]), job.interpreter]
    needed += [Path(os.path.abspath(job.mapping.parent / file)) for file in job.files if not _remote(file)]  # noqa: PTH100
    facts = {
        "unit": unit,
        "credential": credential,
        "unit_credential": credential.replace("%", "%%"),
        "ping_credential": ping_credential,
        "unit_ping_credential": ping_credential.replace("%", "%%"),
        "ledger_credential": ledger_credential,
        "unit_ledger_credential": ledger_credential.replace("%", "%%"),
        "description": job.mapping.name.replace("%", "%%"),
        "unit_owner": job.owner.replace("%", "%%"),
        "unit_state": systemd_words([str(job.state)]),
        "read_write": systemd_words(map(str, written)),
        "command": systemd_command([*job.program, *job.run()]),
        "home": _any_below(needed, _HOMES),
        "temporary": _any_below(needed, _TEMPORARY),
        "state": shell_words([str(job.state)]),
    }
    return {f"{unit}.service": _filled("service", job, **facts), f"{unit}.timer": _filled("timer", job, **facts)}


def _kubernetes(job: Job, _year: int) -> dict[str, str]:
    name = f"backfill-{job.slug}"
    folder = _exports_folder(job)
    metrics = yaml_text(str(job.metrics_file.parent)) if job.metrics_file else None
    filled = _filled(
        "kubernetes",
        job,
        name=name,
        local=folder is not None,
        beside=folder is not None and _IMPORT.is_relative_to(folder),
        exports=folder,
        exports_yaml=yaml_text(str(folder)),
        args=kubernetes_list(job.run(mapping=_MAPPING, state=_STATE)),
        metrics=metrics,
        zone=job.zone_name,
        mapping_text=_block(job.text, "    "),
        status=shell_words(["backfill", *job.status(mapping=_MAPPING, state=_STATE)]),
    )
    return {f"{name}.yaml": filled}


def _github(job: Job, year: int) -> dict[str, str]:
    name = f"backfill-{job.slug}"
    top = next((folder for folder in job.mapping.parents if (folder / ".git").exists()), job.mapping.parent)
    mapping = str(job.mapping.relative_to(top))
    state = str(job.state) if job.state_given else f"/var/lib/backfill/{job.slug}"
    winter, summer = utc_times(job.at, job.zone_name, year)
    command = shell_words(["backfill", *job.run(mapping=mapping, state=state)])
    if "${{" in command:
        raise UsageError(
            "a name of a file or folder has ${{ in it, which GitHub would replace",
            hint="give the file or folder another name",
        )
    filled = _filled(
        "github",
        job,
        name=name,
        title=yaml_text(f"backfill {job.mapping.name}"),
        winter_cron=f"{int(winter[3:])} {int(winter[:2])} * * *",
        winter=winter,
        summer=summer,
        zone=job.zone_name,
        pauses=" ".join(map(str, _PAUSES)),
        command=command,
        state=shell_words([state]),
        status=shell_words(["backfill", *job.status(mapping=mapping, state=state)]),
    )
    return {f"{name}.yml": filled}


def _airflow(job: Job, _year: int) -> dict[str, str]:
    dag_id = "backfill_" + job.slug.replace("-", "_")
    connection = f"redo_{job.slug.replace('-', '_')}"
    filled = _filled(
        "airflow",
        job,
        dag_id=dag_id,
        dag_literal=yaml_text(dag_id),
        conn_id=connection,
        conn_literal=yaml_text(connection),
        ping_id=f"{connection}_ping",
        ping_literal=yaml_text(f"{connection}_ping"),
        ledger_conn_literal=yaml_text(f"{connection}_ledger"),
        description_literal=yaml_text(f"{job.mapping.name} to Redo"),
        words=[yaml_text(word) for word in [*job.program, *job.run()]],
        zone=job.zone_name,
    )
    return {f"{dag_id}.py": filled}


_RENDERERS: Mapping[Form, Callable[[Job, int], dict[str, str]]] = {
    "cron": _cron,
    "systemd": _systemd,
    "kubernetes": _kubernetes,
    "github-actions": _github,
    "airflow": _airflow,
}


def _filled(template: str, job: Job, **facts: Any) -> str:
    """A template with what every form tells, and its own facts, which go before."""
    common = {
        "mapping_name": job.mapping.name,
        "again": shell_words([*job.program, *job.again]),
        "status": shell_words([*job.program, *job.status()]),
        "at": job.at.strftime("%H:%M"),
        "hour": job.at.hour,
        "minute": job.at.minute,
        "zone": job.zone,
        "machine": job.machine,
        "ping": job.ping_file is not None,
        "ledger": job.ledger_file is not None,
        "ledger_file": shell_words([str(job.ledger_file)]),
        "owner": job.owner,
        "state": str(job.state),
        "own_secrets": job.own_secrets,
    }
    return _templates().get_template(f"{template}.j2").render(**(common | facts))


@cache
def _templates() -> Environment:
    """Templates with << >> and <% %>: braces and $ are what the files themselves are full of."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(  # noqa: S701  (no page: each word is quoted by the rules of its place)
        loader=PackageLoader("backfill.schedule"),
        undefined=StrictUndefined,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _remote(file: str) -> bool:
    """Whether the export comes by URL. (Asking `read` would load Polars for it.)"""
    return "://" in file


def _any_below(paths: list[Path], tops: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(top) for path in paths for top in tops)


def _exports_folder(job: Job) -> PurePosixPath | None:
    """The one folder in the container that holds every file of the export; None when all come by URL."""
    folders = []
    for file in job.files:
        if _remote(file):
            continue
        full = PurePosixPath(os.path.normpath(_IMPORT / file))
        literal = next((i for i, part in enumerate(full.parts) if glob.has_magic(part)), len(full.parts))
        # The last part is a file, unless it says that it is a folder.
        folder = file.endswith("/") or (literal == len(full.parts) and not full.suffix)
        folders.append(str(PurePosixPath(*full.parts[: literal if folder else min(literal, len(full.parts) - 1)])))
    if not folders:
        return None
    common = PurePosixPath(os.path.commonpath(folders))
    if common == PurePosixPath("/"):
        raise UsageError(
            "source.files lie in folders that have nothing in common, and one volume holds them in Kubernetes",
            hint="put them into one folder beside the mapping, or name a bucket by its URL",
        )
    return common


def _block(text: str, indent: str) -> str:
    """A text as YAML: as it stands where that gives it back, else in quotes."""
    lines = text.splitlines()
    block = "|\n" + "".join(f"{indent}{line}\n" if line else "\n" for line in lines).rstrip("\n")
    try:
        same = yaml.safe_load(f"  text: {block}\n") == {"text": text}
    except yaml.YAMLError:
        same = False
    return block if same else yaml_text(text)
