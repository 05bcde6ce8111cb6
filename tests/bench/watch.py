"""A command in a process of its own: how long it took, what CPU and memory it used, and when it said what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["BenchError", "Ended", "Said", "watch"]

SAMPLE_SECONDS = 0.05
LONGEST_SECONDS = 900.0
MB = 1_000_000


class BenchError(Exception):
    """What was to be measured did not do its work: its figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Said:
    """A line of standard output, and when it came: seconds since the start; CPU seconds until then, if known."""

    text: str
    seconds: float
    cpu: float | None

    def data(self) -> dict[str, Any]:
        """The line as a JSON object."""
        found: dict[str, Any] = json.loads(self.text)
        return found


@dataclass(frozen=True, slots=True)
class Ended:
    """`began` in Unix seconds. `cpu` in seconds, user and system. `memory` in MB: the most that it held of its own.

    Its own is what no file stands behind (RssAnon + RssShmem, seen 20 times a second; 0 for a process that was too
    short for it): pages of a mapped file are the system's to take back. Where there is no /proc it is ru_maxrss, which
    counts those too.
    """

    began: float
    seconds: float
    cpu: float
    memory: float
    lines: list[Said]

    def said(self, kind: str) -> Said:
        """The first line of a `type`."""
        return next(said for said in self.lines if said.data()["type"] == kind)


def watch(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end. Raises BenchError when it fails, or takes more than a quarter of an hour."""
    lines: list[Said] = []
    with tempfile.TemporaryFile() as errors:
        moment, began = time.time(), time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=env, text=True)
        assert process.stdout is not None
        over = threading.Event()
        peaks: list[int] = [0]
        sampler = threading.Thread(target=_sample, args=(process.pid, over, peaks), daemon=True)
        timer = threading.Timer(LONGEST_SECONDS, process.kill)
        sampler.start()
        timer.start()
        try:
            lines.extend(Said(line, time.perf_counter() - began, _cpu(process.pid)) for line in process.stdout)
            # Not process.wait(): only wait4 tells what the process used.
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            timer.cancel()
            over.set()
            sampler.join()
            if process.returncode is None:
                process.kill()
                process.wait()
            process.stdout.close()
        if process.returncode:
            errors.seek(0)
            words = errors.read().decode(errors="replace")[-2_000:]
            shown = " ".join(str(part) for part in command)
            raise BenchError(f"{shown}\nended with exit status {process.returncode}:\n{words}")
    if not Path("/proc/self/status").exists():
        peaks.append(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    return Ended(moment, seconds, usage.ru_utime + usage.ru_stime, max(peaks) / MB, lines)


def _sample(pid: int, over: threading.Event, peaks: list[int]) -> None:
    path = Path(f"/proc/{pid}/status")
    while not over.wait(SAMPLE_SECONDS):
        try:
            fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
        except OSError:
            return
        # A process that has ended and waits to be collected has no memory.
        own = sum(int(fields.get(name, "0").split()[0]) for name in ("RssAnon", "RssShmem"))
        peaks[0] = max(peaks[0], own * 1024)


def _cpu(pid: int) -> float | None:
    """CPU seconds of a running process."""
    try:
        # The name, in parentheses, may hold spaces: the fields are counted from behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
