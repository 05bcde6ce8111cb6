"""A fork is what a start of its own would be: what the tests see of the one, they would see of the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.conftest import Require
from tests.end_to_end.support import USUAL, Shop, finish
from tests.forked import Forked, can_fork

# What a process can tell of itself. The numbers of Polars' and Python's own files are not counted among the open ones.
TELL = """
import json, locale, os, resource, signal, sys, tempfile, time
def stream(it):
    return [it.name, it.mode, it.encoding, it.errors, it.line_buffering, it.newlines, it.closed, it.fileno(), it.isatty()]
import __main__
print(json.dumps({
    "words": sys.argv, "warnings": sys.warnoptions, "flags": str(sys.flags), "path": sys.path[:1],
    "main": [__main__.__name__, __main__.__package__, __main__.__spec__],
    "environment": dict(os.environ), "folder": os.getcwd(), "umask": os.umask(0), "zone": time.tzname,
    "parent": os.getppid(), "group": os.getpgid(0), "session": os.getsid(0), "nice": os.nice(0),
    "files": [n for n in range(64) if os.path.exists(f"/proc/self/fd/{n}") and os.readlink(f"/proc/self/fd/{n}") != "/proc/self/fd"],
    "streams": [stream(it) for it in (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)],
    "handlers": {n: str(signal.getsignal(n)) for n in range(1, 32)},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "limits": [resource.getrlimit(getattr(resource, n)) for n in sorted(dir(resource)) if n.startswith("RLIMIT_")],
    "locale": locale.setlocale(locale.LC_ALL), "temporary": tempfile.gettempdir(),
    "read": sys.stdin.read(),
}))
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def shop(tmp_path: Path, require: Require) -> Shop:
    require(sys.platform == "linux", "only Linux gives a process to another parent")
    return Shop(tmp_path)


def test_it_is_like_a_start(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    code = forked.CODE.partition("from backfill")[0] + f"exec({TELL!r})"
    monkeypatch.setattr(forked, "CODE", code)
    folder = shop.folder / "home"
    environment = {**shop.env, "TZ": "Asia/Tokyo", "TMPDIR": str(folder), "REDO_STORE_ID": "é"}
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    options = {"cwd": folder, "env": environment, **pipes}
    words = ["run", "a b.yaml", "ü", ""]
    # The environment of its server is like no other's: another server has run another code.
    fork = Forked(words, {**USUAL, "NO_COLOR": "1"}, **options)
    start = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", TELL, *words], text=True, encoding="utf-8", **options
    )
    before = os.umask(0o027)
    try:
        told = [json.loads(process.communicate("line\nü")[0]) for process in (fork, start)]
    finally:
        os.umask(before)
    assert (fork.returncode, start.returncode) == (0, 0)
    assert {what: (told[0][what], told[1][what]) for what in told[0] if told[0][what] != told[1][what]} == {}
    assert told[0]["parent"] == os.getpid()


def test_its_status_is_that_of_its_end(shop: Shop) -> None:
    assert shop.do("--version").out.startswith("backfill, version ")
    assert "no such command" in shop.do("walk", status=2).err.lower()
    process = shop.start("sandbox", "--port", "0")
    assert process.stdout is not None
    assert "http" in process.stdout.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    finish(process, -signal.SIGKILL)


def test_the_commands_also_start_by_themselves(shop: Shop) -> None:
    """Which imports what it needs in the order in which it comes to need it."""
    shop.orders(3)
    shop.mapping()
    lines = [
        "check orders.yaml",
        "preview orders.yaml",
        "run orders.yaml --sandbox --yes",
        "status",
        "report",
        "schema",
    ]
    starts, forks = [
        [shop.do(*line.split(), status=None, itself=one).status for line in lines] for one in (True, False)
    ]
    assert starts == forks
    assert starts[:3] == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "can"),
    [
        ({}, True),
        ({"stdout": subprocess.DEVNULL}, True),
        ({"preexec_fn": os.getpid}, False),
        ({"env": {"REDO_BASE_URL": "http://127.0.0.1:9", "COLUMNS": "80"}}, True),
        ({"env": {"LD_PRELOAD": "shim.so"}}, False),
        ({"env": {"PYTHONDEVMODE": "1"}}, False),
        ({"env": {"LANG": "de_DE.UTF-8"}}, False),
        ({"env": {"POLARS_MAX_THREADS": "4"}}, False),
    ],
)
def test_what_only_a_start_can_do_is_started(shop: Shop, options: dict[str, Any], *, can: bool) -> None:
    assert can_fork({**options, "env": {**shop.env, **options.get("env", {})}}, USUAL) is can
