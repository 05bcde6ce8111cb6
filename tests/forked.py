"""The command in a process that starts in a few milliseconds: forked off one that has imported everything.

A start costs half a second of CPU, all of it imports, and the tests start the command some hundred times. `Forked` is a
Popen: its process is a child of this one, with a pid, streams, a folder and an environment of its own, and what it does
from `main()` to its last exit handler is what it does after a start of its own. BACKFILL_TEST_STARTS=true has every
command start by itself.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import importlib
import inspect
import json
import os
import pkgutil
import re
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Its first half runs in the process that is forked, its second half in the forks.
CODE = "from tests.forked import serve, to_its_end; serve(NUMBER); from backfill.cli import main; to_its_end(main)"
# What a process may find in its environment after it has imported everything. For any other difference it has to start.
LATER = re.compile(r"(REDO|BACKFILL|SSL_CERT|SHIM)_\w+|(?i:(https?|all|no)_proxy)|COLUMNS|HOME|NO_COLOR|TERM|TMPDIR|TZ")
# Of Popen's options, those that a fork can have; for any other it has to start.
OPTIONS = {"cwd", "env", "stdin", "stdout", "stderr"}
LONGEST = 1 << 17
PR_SET_CHILD_SUBREAPER = 36
# What runs when everything has been imported: this thread and OpenBLAS's, jemalloc's, one of Polars'; forks do without.
HARMLESS = {Path(sys.executable).name, "python", "python3", "jemalloc_bg_thd", "polars-ooc-clea"}
MAPPING = """
source: {files: orders.csv, where: a > 1, group_by: [a]}
events: [{eventName: A, uniqueId: "a:{a}", eventTimestamp: "{a}", customer: {email: "{b}"}, data: {A: {column: a}}}]
"""


def can_fork(options: Mapping[str, Any], usual: Mapping[str, str]) -> bool:
    """Whether a fork would be what Popen starts with these options; it comes from a process with the `usual` environment."""
    if sys.platform != "linux" or os.environ.get("BACKFILL_TEST_STARTS") or not options.keys() <= OPTIONS:
        return False
    return all(LATER.fullmatch(name) for name, _ in options["env"].items() ^ usual.items())


# --------------------------------------------------------------------------------------------------- the tests' side


class Forked(subprocess.Popen[str]):
    """`Forked(words, cwd=…, env=…, stdout=…)`: the command with these words, as Popen would start it."""

    def __init__(self, words: list[str], usual: Mapping[str, str], **options: Any) -> None:
        self._usual = tuple(sorted(usual.items()))
        super().__init__(words, text=True, encoding="utf-8", **options)

    def _execute_child(self, *given: Any) -> None:
        # Popen's one step from "all is ready" to "there is a process".
        named = inspect.signature(_POPENS).bind(self, *given).arguments
        order = {
            "words": named["args"],
            "folder": str(named["cwd"]),
            "env": named["env"],
            "umask": int(re.findall(r"Umask:\s*(\d+)", Path("/proc/self/status").read_text("ascii"))[0], 8),
        }
        theirs = [named[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        try:
            handles = [number if handle == -1 else handle for number, handle in enumerate(theirs)]
            with _ONE_EACH:
                fork = _server(self._usual)
            self.pid = fork(order, handles)
            self._child_created = True
        finally:
            self._close_pipe_fds(  # type: ignore[attr-defined]
                *(named[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"))
            )


_ONE_EACH = threading.Lock()
_POPENS: Callable[..., None] = vars(subprocess.Popen)["_execute_child"]


@functools.cache
def _server(usual: tuple[tuple[str, str], ...]) -> Callable[[dict[str, Any], list[int]], int]:
    """Gives the pid of a new process; there is one server in a process of pytest, until that ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        command = [sys.executable, "-W", "error", "-c", CODE.replace("NUMBER", str(number))]
        process = subprocess.Popen(command, cwd=ROOT, env=dict(usual), pass_fds=[number], stdin=subprocess.DEVNULL)
    libc, lock = ctypes.CDLL(None, use_errno=True), threading.Lock()

    def fork(order: dict[str, Any], handles: list[int]) -> int:
        # Who is forked off in two steps is an orphan, and the next of its ancestors that wants orphans becomes its parent.
        with lock:
            assert not libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), os.strerror(ctypes.get_errno())
            try:
                socket.send_fds(ours, [json.dumps(order).encode()], handles)
                answer = ours.recv(LONGEST)
            except BaseException:
                # An answer that nobody waited for would be taken for the next one.
                _server.cache_clear()
                raise
            finally:
                libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        assert answer, f"the process that commands are forked off has ended with {process.wait()}"
        return int(answer)

    def close() -> None:
        ours.close()
        process.wait()

    atexit.register(close)
    return fork


# -------------------------------------------------------------------------------------------------- the server's side


def serve(number: int) -> None:
    """Fork for each order that arrives; comes back in the forks only."""
    with socket.socket(fileno=number) as control:
        _import_everything()
        gc.freeze()
        while True:
            try:
                message, handles, _, _ = socket.recv_fds(control, LONGEST, 3)
            except KeyboardInterrupt:
                os._exit(0)
            if not message:
                os._exit(0)
            if _forked(control):
                break
            for handle in handles:
                os.close(handle)
    _become(json.loads(message), handles)


def _import_everything() -> None:
    import aiohttp  # noqa: F401
    import anyio._backends._asyncio  # noqa: F401
    import numpy.ma  # noqa: F401
    import uvloop  # noqa: F401
    import yaml.cyaml  # noqa: F401

    import backfill
    from backfill import mapping

    for module in pkgutil.walk_packages(backfill.__path__, "backfill."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # What is made once, at the first mapping that is read.
    mapping.parse(MAPPING)
    # Polars starts its pool when it is first used: a fork would wait for threads that it does not have.
    threads = {task.read_text("ascii").strip() for task in Path("/proc/self/task").glob("*/comm")}
    assert threads <= HARMLESS, threads


def _forked(control: socket.socket) -> bool:
    """Whether this is the process of the command; `control` hears of its pid when it has its parent."""
    reading, writing = os.pipe()
    orphaned, released = os.pipe()
    with warnings.catch_warnings():
        # Of the threads that there are, which does no harm.
        warnings.simplefilter("ignore", DeprecationWarning)
        between = os.fork()
        process = 0 if between else os.fork()
    if process:
        os.write(writing, str(process).encode())
        os._exit(0)
    if between:
        os.waitpid(between, 0)
        control.send(os.read(reading, 20))
    os.close(released)
    if not between:
        # Ends when the server has closed its end as well.
        os.read(orphaned, 1)
    for handle in (reading, writing, orphaned):
        os.close(handle)
    return not between


def _become(order: dict[str, Any], handles: list[int]) -> None:
    for target, handle in enumerate(handles):
        os.dup2(handle, target)
        os.close(handle)
    os.chdir(order["folder"])
    os.umask(order["umask"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    sys.argv[1:] = order["words"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def to_its_end(work: Callable[[], None]) -> None:
    """Everything that Python does at its end, but that it doesn't take each module apart: that costs more than most runs."""
    try:
        work()
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        threading._shutdown()  # type: ignore[attr-defined]  # which waits for threads
        atexit._run_exitfuncs()
        # Whatever was left open says so now.
        gc.collect()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)


def _stream(number: int, like: Any) -> TextIOWrapper:
    """As Python makes it at a start."""
    reads = number == 0
    raw = FileIO(number, "r" if reads else "w", closefd=False)
    raw.name = like.name
    stream = TextIOWrapper(
        BufferedReader(raw) if reads else BufferedWriter(raw),
        encoding=like.encoding,
        errors=like.errors,
        newline=None if reads else "\n",
        line_buffering=number == 2 or raw.isatty(),
    )
    stream.mode = like.mode  # type: ignore[misc]
    return stream
