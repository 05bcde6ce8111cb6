"""How the last run ended, for Prometheus: a file in the text format, for node_exporter's textfile collector.

https://github.com/prometheus/node_exporter#textfile-collector
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["Ended", "last_success", "metrics_text", "write_metrics"]

LAST_SUCCESS = "backfill_last_success_timestamp_seconds"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit status, when (seconds since 1970), how long it took (seconds), and what `summary.json`
    holds, if it came so far. `store` is empty where it is not known.
    """

    mapping: str
    store: str
    status: int
    at: float
    seconds: float
    summary: Mapping[str, Any] | None = None


def metrics_text(ended: Ended, succeeded: float | None) -> str:
    """The file's text; `succeeded` is when the last run before this one succeeded."""
    labels = {"mapping": ended.mapping, "store": ended.store}
    last = ended.at if ended.status == 0 else succeeded
    lines = [
        *_gauge("backfill_last_run_timestamp_seconds", "When the last run ended.", [(labels, ended.at)]),
        *_gauge(LAST_SUCCESS, "When a run last ended with exit status 0.", [] if last is None else [(labels, last)]),
        *_gauge("backfill_exit_status", "The exit status of the last run.", [(labels, ended.status)]),
        *_gauge("backfill_duration_seconds", "How long the last run took.", [(labels, round(ended.seconds, 3))]),
    ]
    summary = ended.summary
    if summary is not None:
        events = [({**labels, "outcome": name}, count) for name, count in summary["events"].items() if name != "total"]
        rows = [({**labels, "outcome": name}, count) for name, count in summary["rows"].items() if name != "read"]
        became = "Events of the last run by what became of them; pending has backfill_kept_back_events in it."
        lines += _gauge("backfill_events", became, events)
        kept = [(labels, summary["kept_back"])]
        lines += _gauge("backfill_kept_back_events", "Events that the last run kept back as too new.", kept)
        lines += _gauge("backfill_rows", "Rows that the last run read, by what became of them.", rows)
        lines += _gauge("backfill_requests", "Requests of the last run.", [(labels, summary["requests"])])
        lines += _gauge(
            "backfill_retries", "Requests of the last run that were retries.", [(labels, summary["retries"])]
        )
        limited = [(labels, summary["rate_limited"])]
        lines += _gauge("backfill_rate_limited", "Answers 429 that the last run got.", limited)
    return "\n".join(lines) + "\n"


def last_success(text: str, mapping: str) -> tuple[str, float] | None:
    """To which store a run of the mapping last succeeded, and when, as a file from before tells."""
    before = re.escape(_labels({"mapping": mapping})[:-1])
    found = re.search(rf'(?m)^{LAST_SUCCESS}{before},store="([^"\\]*)"\}} ([0-9.]+)$', text)
    return (found[1], float(found[2])) if found else None


def _each(ended: Ended, before: str) -> Iterator[str]:
    """The metrics of each of many stores, with its own last success as a file from before tells."""
    stores = ended.summary["stores"] if ended.summary else {}
    for store, summary in stores.items():
        labels = re.escape(_labels({"mapping": ended.mapping, "store": store}))
        found = re.search(rf"(?m)^{LAST_SUCCESS}{labels} ([0-9.]+)$", before)
        one = replace(ended, store=store, status=summary["exit"], summary=summary)
        yield metrics_text(one, float(found[1]) if found else None)


def _together(texts: Iterable[str]) -> str:
    """One text of several: the format wants all values of a metric in one place."""
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for line in (line for text in texts for line in text.splitlines()):
        if line.startswith("# HELP "):
            values = found.setdefault(line, [])
        elif not line.startswith("# TYPE "):
            values.append(line)
    lines = []
    for said, values in found.items():
        lines += [said, f"# TYPE {said.split(' ')[2]} gauge", *values]
    return "\n".join(lines) + "\n"


def write_metrics(path: Path, ended: Ended) -> None:
    """Put the file in place, whole or not at all, for all to read: it holds nothing of customers. Raises OSError."""
    before = ""
    with suppress(OSError, UnicodeDecodeError):
        before = path.read_text(encoding="utf-8")
    if ended.summary and ended.summary.get("stores"):
        text = _together(_each(ended, before))
    else:
        store, succeeded = last_success(before, ended.mapping) or ("", None)
        if not ended.store:
            ended = replace(ended, store=store)
        text = metrics_text(ended, succeeded if ended.store == store else None)
    # The collector reads *.prom only: not this one.
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("x", encoding="utf-8") as file:
            file.write(text)
            # Whatever the umask: the collector is another user.
            os.fchmod(file.fileno(), 0o644)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def _gauge(name: str, meaning: str, values: list[tuple[dict[str, str], float]]) -> Iterator[str]:
    if values:
        yield f"# HELP {name} {meaning}"
        yield f"# TYPE {name} gauge"
    for labels, value in values:
        yield f"{name}{_labels(labels)} {value}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    plain = value.encode("utf-8", "backslashreplace").decode()
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
