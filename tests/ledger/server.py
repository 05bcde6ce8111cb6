"""A PostgreSQL server of the tests' own, in a temporary folder, that can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

__all__ = ["Server", "programs"]

# As an application has it that is not root: the server refuses to run as root.
OTHER = "postgres"


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, which Debian keeps out of the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    found_all = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found_all[-1].parent if found_all else None


class Server:
    """Listens on a socket in its own folder only; what it promises to keep it keeps in memory (`fsync` is off)."""

    def __init__(self, settings: str = "") -> None:
        bin_folder = programs()
        assert bin_folder is not None
        self._bin = bin_folder
        # Short: a socket's path has 107 letters at most.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.run_as = ["runuser", "-u", OTHER, "--"] if os.geteuid() == 0 else []
        if self.run_as:
            shutil.chown(self.folder, OTHER)
        self._run("initdb", "-A", "trust", "-U", "backfill", "-E", "UTF8", "--locale=C", "--no-sync")
        self._settings = settings
        self.start()
        self._databases = 0
        self._free: list[str] = []

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [*self.run_as, str(self._bin / program), "-D", str(self.folder / "data"), *words],
            cwd=self.folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        options = (
            f"-k {self.folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=50 "
            f"-c shared_buffers=32MB -c autovacuum=off -c cluster_name={self.folder.name} " + self._settings
        )
        # Not into pg_ctl's own output: the server would hold it open.
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is a crash: nothing is written any more, every session ends at once."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """SIGKILL to the server itself, whose sessions notice that and end."""
        os.kill(self.pid, signal.SIGKILL)
        until = time.monotonic() + 20
        while self._children():
            assert time.monotonic() < until, "the server's processes live on"
            time.sleep(0.05)
        # Where nobody reaps it, what is killed still has a process id: a new server would take it for alive.
        for lock in (self.folder / "data" / "postmaster.pid", *self.folder.glob(".s.PGSQL.*.lock")):
            lock.unlink()

    def _children(self) -> bool:
        titles = subprocess.run(["ps", "-eo", "args", "ww"], capture_output=True, text=True, check=True).stdout
        return self.folder.name in titles

    @property
    def pid(self) -> int:
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def url(self, database: str = "postgres", role: str = "backfill", password: str = "") -> str:
        return f"postgresql://{role}{f':{password}' if password else ''}@/{database}?host={self.folder}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        import psycopg

        return psycopg.connect(self.url(database), autocommit=True)

    def database(self) -> str:
        """The name of a database without a ledger."""
        if self._free:
            return self._free.pop()
        self._databases += 1
        name = f"ledger_{self._databases}"
        with self.connect() as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def take_back(self, name: str) -> None:
        """A database that is no longer needed, for the next who asks: a new one takes longer."""
        with self.connect(name) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                (name,),
            )
            admin.execute("SET client_min_messages = warning; DROP SCHEMA IF EXISTS backfill CASCADE")
        self._free.append(name)

    def remove(self) -> None:
        subprocess.run(
            [*self.run_as, str(self._bin / "pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "stop"],
            cwd=self.folder, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        shutil.rmtree(self.folder, ignore_errors=True)
