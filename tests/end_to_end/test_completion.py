"""The Tab key in real shells: what they then run, and how little it takes to answer."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import backfill

SECONDS = 60.0
ROOT = Path(backfill.__file__).parents[1]

# What is typed, Tab keys and all, and what is run then.
TYPED = {
    "che\tor\t": ["check", "orders.yaml"],
    "run orders.yaml --endp\tb\t": ["run", "orders.yaml", "--endpoint", "bulk"],
    "check ex\ti\t": ["check", "exports/in.YML"],
    "check oth\t": ["check", "other shop.yml"],
    "check orders.yaml --files exports/bi\t": ["check", "orders.yaml", "--files", "exports/big.csv.gz"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a few files, and a `backfill` before all others that writes down what it was asked to do."""
    for name in ("orders.yaml", "orders.csv", "other shop.yml", "other.csv", "exports/in.YML", "exports/big.csv.gz"):
        path = tmp_path / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    command = tmp_path / "bin" / "backfill"
    command.parent.mkdir()
    command.write_text(f"""\
#!/bin/sh
if [ -z "$_BACKFILL_COMPLETE" ] && [ -e '{tmp_path}/typing' ]; then
    printf '%s\\n' "$@" > '{tmp_path}/ran.new'
    mv '{tmp_path}/ran.new' '{tmp_path}/ran'
else
    PYTHONPATH='{ROOT}' exec '{sys.executable}' -m backfill "$@"
fi
""")
    command.chmod(0o700)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    (folder / "home").mkdir(exist_ok=True)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(folder / "home"), "TERM": "xterm", "LANG": "C.UTF-8", "PS1": "ready> "}


class Shell:
    """A shell with a person at it."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.mine, theirs = pty.openpty()
        self.heard = b""
        self.process = subprocess.Popen(
            command,
            cwd=folder / "shop",
            env=environment(folder),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self.mine, text.encode())

    def listen(self, seconds: float = 0.05) -> None:
        if select.select([self.mine], [], [], seconds)[0]:
            try:
                self.heard += os.read(self.mine, 4096)
            except OSError:
                assert self.process.poll() is None, self.heard

    def until(self, path: Path) -> None:
        """Listen until that file is there."""
        end = time.monotonic() + SECONDS
        while not path.exists():
            assert time.monotonic() < end, self.heard.decode(errors="replace")
            self.listen()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.mine)


STARTS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(backfill completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source <(backfill completion zsh)"),
}


@pytest.fixture
def shell(request, folder, require) -> Iterator[Shell]:
    name = request.param
    require(name, f"{name} is not installed")
    command, setup = STARTS[name]
    one = Shell(command, folder)
    try:
        one.type(f"{setup}; touch {folder}/typing\n")
        one.until(folder / "typing")
        yield one
    finally:
        one.close()


@pytest.mark.parametrize("shell", STARTS, indirect=True)
def test_tab(shell, folder):
    for typed, ran in TYPED.items():
        shell.type(f"backfill {typed}\n")
        shell.until(folder / "ran")
        # What follows the last completion (a space or none) is not the shell's to give away.
        words = (folder / "ran").read_text().splitlines()
        assert [word.rstrip("/") for word in words] == [word.rstrip("/") for word in ran], shell.heard.decode()
        (folder / "ran").unlink()


def fish(folder: Path, line: str) -> list[str]:
    """What fish offers at the end of such a line."""
    script = f"source (backfill completion fish | psub); complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=folder / "shop",
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    assert not done.stderr
    return [offer.partition("\t")[0] for offer in done.stdout.splitlines()]


def test_tab_in_fish(folder, require):
    require("fish", "fish is not installed")
    assert fish(folder, "backfill check o") == ["orders.yaml", "other shop.yml"]
    assert fish(folder, "backfill run orders.yaml --endpoint ") == ["bulk", "single"]
    assert "--endpoint" in fish(folder, "backfill run orders.yaml --")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_and_says_how_to_install_it(shell, folder, require):
    require(shell, f"{shell} is not installed")
    script = subprocess.run(
        [folder / "bin" / "backfill", "completion", shell], capture_output=True, text=True, check=True, timeout=SECONDS
    ).stdout
    assert f"backfill completion {shell} >" in script
    assert script.startswith("#compdef backfill\n") == (shell == "zsh")
    checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_what_takes_long_to_import_is_not_asked():
    """Some 0.1 s on a machine at rest, most of it Python's own start."""
    asked = {"_BACKFILL_COMPLETE": "bash_complete", "COMP_WORDS": "backfill\ncheck\n", "COMP_CWORD": "2"}
    code = (
        "import sys\n"
        "from backfill.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print({'polars', 'numpy', 'pyarrow', 'pydantic', 'anyio', 'rich', 'yaml'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=False, timeout=SECONDS
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "set()", done.stdout + done.stderr
