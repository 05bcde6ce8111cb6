"""The processes of a Ray cluster that this process started, and their deaths."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

__all__ = ["add_node", "kill", "kill_node", "workers"]


def _processes() -> dict[int, tuple[int, str]]:
    """The parent and the title of each process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                title = (entry / "cmdline").read_text(errors="replace").split("\0")[0]
                parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
                found[int(entry.name)] = (int(parent), title)
    return found


def _below(root: int, processes: dict[int, tuple[int, str]]) -> set[int]:
    found = {root}
    while more := {one for one, (parent, _) in processes.items() if parent in found} - found:
        found |= more
    return found - {root}


def workers(*titles: str) -> list[int]:
    """The processes of Ray's, begun by this one or what it began, that do this now."""
    processes = _processes()
    mine = _below(os.getpid(), processes)
    return [one for one in mine if any(processes[one][1].startswith(f"ray::{title}") for title in titles)]


def kill(*titles: str) -> int:
    """Kill all that do this now; how many they were."""
    found = workers(*titles)
    for process in found:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return len(found)


def kill_node(cluster: Any, node: Any) -> None:
    """A machine goes down: all its processes at once, those of its work too."""
    processes = _processes()
    roots = [info.process.pid for kind in node.all_processes.values() for info in kind]
    below = set().union(*(_below(root, processes) for root in roots)) if roots else set()
    cluster.remove_node(node, allow_graceful=False)
    for process in below:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def add_node(cluster: Any, cpus: int) -> Any:
    """One more machine, from whichever thread: Ray would set a signal handler, which only the main one may."""
    with mock.patch("ray._private.utils.set_sigterm_handler"):
        return cluster.add_node(num_cpus=cpus)
