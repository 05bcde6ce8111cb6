"""What a person sees at a terminal of 80 columns, and of 40: nothing wraps, nothing stays behind, Ctrl-C is one line."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.support import SECONDS, Shop, finish

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Sitting:
    """A command at a terminal of its own, which is the one that Ctrl-C goes to."""

    def __init__(self, shop: Shop, *words: str, width: int = 80, **env: str) -> None:
        self.mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self.bytes = b""

        def take() -> None:
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        whole = {**shop.env, "TERM": "xterm", **env}
        if "COLUMNS" not in env:
            del whole["COLUMNS"]
        self.process = shop.start(*words, stdin=theirs, stdout=theirs, stderr=theirs, env=whole, preexec_fn=take)
        os.close(theirs)

    @property
    def heard(self) -> str:
        return self.bytes.decode(errors="replace")

    @property
    def plain(self) -> str:
        """Without what moves the cursor and colours."""
        return ESCAPES.sub("", self.heard)

    def until(self, what: str) -> None:
        """Listen until it shows that."""
        end = time.monotonic() + SECONDS
        while what not in self.plain:
            assert self._listen(), f"ended without {what!r}: {self.heard}"
            assert time.monotonic() < end, self.heard

    def _listen(self) -> bool:
        """Whether there may be more to hear."""
        if not select.select([self.mine], [], [], 0.5)[0]:
            return True
        try:
            more = os.read(self.mine, 65_536)
        except OSError:
            return False
        self.bytes += more
        return bool(more)

    def end(self, status: int) -> str:
        """Listen to its end, which has to be with `status`; all that it showed."""
        end = time.monotonic() + SECONDS
        while self._listen():
            assert time.monotonic() < end, self.heard
        finish(self.process, status)
        os.close(self.mine)
        assert "Traceback" not in self.heard
        # The cursor is hidden while lines are drawn, and no longer.
        assert self.heard.rfind("\x1b[?25h") >= self.heard.rfind("\x1b[?25l")
        return self.plain


def lines(shown: str) -> list[str]:
    """Each line as it was drawn, the ones that were drawn over too."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", shown)]


@pytest.mark.parametrize("width", [80, 40])
def test_no_line_of_a_run_wraps(lone_shop: Shop, start: Start, width: int) -> None:
    shop = lone_shop
    shop.env["REDO_BASE_URL"] = start("latency=40,429=5%,retry_after=1,seed=5").base_url
    shop.orders(40)
    shop.mapping()
    sitting = Sitting(shop, "run", "orders.yaml", width=width)
    shown = sitting.end(0)
    drawn = lines(shown)
    # A path stays in one piece, so that it can be copied.
    assert [line for line in drawn if len(line) > width and str(shop.folder) not in line] == []
    assert max(len(line) for line in drawn if " left" in line) < width, "the last column stays free"
    assert re.search(r"\d+ %, \d+ of 40( events)?, (\d+/s, )?\d+ s left", shown)
    assert "waiting 1 s: the API asked for it" in shown
    assert not re.search(r"\b0 s left", shown)


def test_what_a_terminal_shows_of_a_check(lone_shop: Shop) -> None:
    """Colours where they are wanted; and the letters of a pipe, whatever the terminal."""
    shop = lone_shop
    shop.orders(3)
    shop.write("orders.csv", (shop.folder / "orders.csv").read_text() + "x,never,not an address,1,n\n")
    shop.mapping()
    piped = shop.do("check", "orders.yaml", status=3).out
    coloured = Sitting(shop, "check", "orders.yaml", width=200)
    assert words_of(coloured.end(3)) == words_of(piped)
    assert "\x1b[1;31mRejected:\x1b[0m" in coloured.heard
    without = Sitting(shop, "check", "orders.yaml", width=200, NO_COLOR="1")
    assert words_of(without.end(3)) == words_of(piped)
    assert not COLOURS.search(without.heard)
    dumb = Sitting(shop, "check", "orders.yaml", width=200, TERM="dumb")
    dumb.end(3)
    assert dumb.heard.replace("\r\n", "\n") == piped_at(100, piped)


def words_of(shown: str) -> list[str]:
    """The result's words, however they are laid out; without the progress before it."""
    return shown[shown.index("orders.csv:") :].split()


def piped_at(width: int, text: str) -> str:
    from backfill.terminal import laid_out

    return laid_out(text, width)


def test_a_terminal_without_unicode(lone_shop: Shop, start: Start) -> None:
    shop = lone_shop
    shop.env["REDO_BASE_URL"] = start("latency=40").base_url
    shop.orders(40)
    shop.mapping(event={"eventName": "Größe … Ω"})
    sitting = Sitting(shop, "run", "orders.yaml", PYTHONIOENCODING="ascii")
    sitting.end(0)
    assert sitting.heard.isascii()
    assert "#" in sitting.plain
    assert "Gr\\u00f6\\u00dfe ... \\u03a9: 40 events" in sitting.plain
    shop.mapping(event={"eventName": "… Ω"})
    latin = {**shop.env, "PYTHONIOENCODING": "latin-1"}
    assert '"\\u2026 \\u03a9"' in shop.do("preview", "orders.yaml", "-n", "1", env=latin).out, "JSON as before"


@pytest.mark.parametrize("command", ["check", "run"])
def test_ctrl_c_is_a_line(shop: Shop, start: Start, command: str) -> None:
    if command == "check":
        shop.orders(300_000)
        seen, said = "checking: ", "interrupted"
    else:
        shop.env["REDO_BASE_URL"] = start("latency=50").base_url
        shop.orders(2_000)
        seen, said = " of 2,000 events", "interrupted by SIGINT: what was sent is recorded"
    shop.mapping()
    sitting = Sitting(shop, command, "orders.yaml")
    sitting.until(seen)
    os.write(sitting.mine, b"\x03")
    shown = sitting.end(130)
    assert [line for line in lines(shown) if line.startswith("interrupted")] == [said]


@pytest.mark.parametrize("module", ["click", "backfill.cli.shared"])
def test_ctrl_c_before_there_is_a_command_line(module: str) -> None:
    """It comes while Python imports what the command line is made of."""
    code = f"""
import builtins, os, runpy, signal, sys
sys.argv = ["backfill", "--version"]
real = builtins.__import__
def patched(name, *rest, **more):
    if name == {module!r}:
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest, **more)
builtins.__import__ = patched
runpy.run_module("backfill", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


class Tmux:
    """A real terminal, which lays lines out anew when its width changes."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")

    def do(self, *words: str) -> str:
        command = ["tmux", "-S", self._socket, "-f", os.devnull, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout

    def screen(self) -> list[str]:
        return [line.rstrip() for line in self.do("capture-pane", "-p").splitlines() if line.strip()]

    def until(self, holds: Callable[[list[str]], object]) -> list[str]:
        end = time.monotonic() + SECONDS
        while not holds(screen := self.screen()):
            assert time.monotonic() < end, screen
            time.sleep(0.05)
        return screen


@pytest.fixture
def tmux(tmp_path: Path, require: Callable[[object, str], None]) -> Iterator[Tmux]:
    require("tmux", "tmux is not installed")
    one = Tmux(tmp_path)
    yield one
    one.do("kill-server")


def test_resized(lone_shop: Shop, start: Start, tmux: Tmux) -> None:
    """Nothing of the lines that were drawn at another width stays behind."""
    shop = lone_shop
    shop.env["REDO_BASE_URL"] = start("latency=100").base_url
    shop.orders(2_000)
    shop.mapping()
    env = [f"{name}={value}" for name, value in shop.env.items() if name != "COLUMNS"]
    command = ["env", "-u", "COLUMNS", *env, sys.executable, "-m", "backfill", "run", "orders.yaml", "--rate", "20"]
    tmux.do("new-session", "-d", "-x", "80", "-y", "24", "-c", str(shop.folder), *command)

    def drawn(screen: list[str]) -> list[str]:
        return [line for line in screen if " left" in line or "━" in line or "─" in line]

    tmux.until(lambda screen: any(" of 2,000 events, " in line and "─" in line for line in drawn(screen)))
    for width, words in (
        (40, r"^. \d+ %, [\d,]+ of 2,000( events)?, .*left$"),
        (100, r"─ \d+ %, [\d,]+ of 2,000 events, .*left$"),
    ):
        tmux.do("resize-window", "-x", str(width), "-y", "24")
        screen = tmux.until(lambda screen, words=words: any(re.search(words, line) for line in screen))
        assert len(drawn(screen)) == 1, screen
        assert max(map(len, screen)) <= width
    tmux.do("send-keys", "C-c")
