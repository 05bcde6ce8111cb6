"""Runs that are killed at a chosen point, and what a server and a ledger say afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backfill.ledger import Ledger, Target, key
from backfill.sandbox import SandboxThread
from tests.end_to_end.support import SECRET, balanced

ROOT = Path(__file__).parents[2]
KILLED = -9
SECONDS = 60


class Zygote:
    """The process that runs are forked off."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.faults.zygote"]
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", "POLARS_MAX_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, env=env, **pipes)

    def run(self, order: dict[str, Any]) -> int:
        """The exit status of a run that has ended; -9 when it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(SECONDS, self._process.kill)
        timer.start()
        try:
            print(json.dumps(order), file=self._process.stdin, flush=True)
            return int(self._process.stdout.readline() or "-999")
        finally:
            timer.cancel()

    def close(self) -> None:
        """End it."""
        with self._process:
            self._process.kill()


@dataclass
class Place:
    """A folder with an export, a mapping and a ledger, and a store of its own at a server."""

    folder: Path
    box: SandboxThread
    zygote: Zygote
    store: str
    flags: dict[str, Any] = field(default_factory=dict)
    mapping: str = "orders.yaml"

    @property
    def state(self) -> Path:
        return self.folder / ".backfill"

    def run(
        self,
        kill: tuple[str, int] | None = None,
        points: Path | None = None,
        number: int = signal.SIGKILL,
        **flags: Any,
    ) -> int:
        """A run to its end, whatever that is; `kill`: the point, and the how manieth time; `number`: by which signal."""
        order = {
            "folder": str(self.folder),
            "mapping": self.mapping,
            "env": {"REDO_API_SECRET": SECRET, "REDO_BASE_URL": self.box.base_url, "REDO_STORE_ID": self.store},
            "flags": self.flags | flags,
            "kill": kill,
            "signal": int(number),
            "points": str(points) if points else None,
        }
        return self.zygote.run(order)

    def summary(self) -> dict[str, Any]:
        """The summary of the run that ended last; its numbers balance."""
        newest = max(self.state.glob("runs/*/summary.json"), key=lambda path: path.stat().st_mtime_ns)
        return balanced(json.loads(newest.read_text(encoding="utf-8")))

    def said(self) -> str:
        """What the last run printed."""
        return "".join((self.folder / name).read_text(encoding="utf-8") for name in ("out.txt", "err.txt"))

    def arrived(self) -> dict[str, dict[str, Any]]:
        """The events that the store has, by their ids: the first of each."""
        return {one.unique_id or "": one.event for one in self.box.events(store=self.store, duplicates=False)}

    def again(self) -> list[str]:
        """The ids of events that arrived once more, as often as they did; none with other content."""
        repeated = list(self.box.events(store=self.store, duplicates=True))
        assert [one.unique_id for one in repeated if one.differs] == []
        return [one.unique_id or "" for one in repeated]

    def known(self, ids: set[str]) -> set[str]:
        """Which of these the ledger says were accepted; all of it is sound."""
        with Ledger.read(self.state, Target(self.box.base_url, self.store)) as ledger:
            ledger.check_integrity()
            entries = ledger.find([key(one) for one in sorted(ids)])
        return {one for one in ids if key(one) in entries and entries[key(one)].accepted}
