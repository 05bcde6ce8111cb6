"""One run at a time: the lock on a state folder, and what can be said of the disk below it.

The lock is the kernel's (`flock`), not the file's: it goes with its process, also at a kill -9, and a file
that was left behind locks nobody out. What the file holds only names the holder to whoever comes second.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
import weakref
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from backfill.errors import LockedError, StorageError

__all__ = ["LOCK_FILE", "Holder", "Lock", "holder", "network_filesystem", "taken"]

LOCK_FILE: Final = "ledger.lock"

# Seconds that the one who comes second looks for the holder's name: it is written after the lock is got, and
# taken away before it is given back.
_NAMED_WITHIN: Final = 0.4

# File systems (the third field of /proc/mounts) on which a lock may not reach other hosts.
_NETWORK: Final = frozenset(
    """
    9p afs beegfs ceph cifs coda davfs fuse.ceph fuse.gcsfuse fuse.glusterfs fuse.rclone fuse.s3fs fuse.sshfs
    glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs pvfs2 smb2 smb3 smbfs vboxsf virtiofs
    """.split()  # noqa: SIM905  (as a list it is 27 lines of one word)
)


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds, or last held, a lock; `since` is RFC 3339 in UTC."""

    host: str
    pid: int
    since: str
    command: str

    @classmethod
    def this_process(cls) -> Holder:
        # Only the program and its subcommand: of the other words one may be a secret, typed by mistake.
        words = [Path(sys.argv[0] or "python").name, *sys.argv[1:2]]
        command = " ".join(word for word in words if word.replace(".", "").replace("_", "").isalnum())
        return cls(socket.gethostname(), os.getpid(), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", command)

    def is_alive(self) -> bool:
        """False when the process is known to be gone; a process of another host can't be asked."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True


def holder(folder: Path) -> Holder | None:
    """Who holds the lock on `folder`, as far as its file and the process list tell; never touches the lock.

    A look at the lock itself would have to take it, and so could turn away a run that starts in that moment.
    """
    named = _named(folder / LOCK_FILE)
    return named if named is not None and named.is_alive() else None


def _named(path: Path) -> Holder | None:
    try:
        fields = json.loads(path.read_bytes())
        return Holder(str(fields["host"]), int(fields["pid"]), str(fields["since"]), str(fields["command"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def taken(where: str, named: Holder | None, hint: str) -> LockedError:
    """What is told to who comes second: who holds the ledger `where`, as far as that is known, and what to do."""
    if named is None:
        who, wait = "a process that has not named itself", "Wait for it to end."
    else:
        command = f" ({named.command})" if named.command else ""
        who = f"process {named.pid} on {named.host}{command}, since {named.since}"
        wait = f"Wait for it to end, or stop it: kill {named.pid} on {named.host}."
    return LockedError(f"another run holds the ledger in {where}: {who}", hint=f"{wait} {hint}")


class Lock:
    """An exclusive lock on a state folder, from `Lock(folder)` to `release()` or the end of the process.

    Raises LockedError when another holds it (within a second), StorageError when the disk can't give it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._fd = -1
        try:
            self._take()
            os.fchmod(self._fd, 0o600)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, json.dumps(asdict(Holder.this_process())).encode(), 0)
        except OSError as error:
            self.let_go()
            raise StorageError(
                f"taking the lock {self._path}: {error.strerror}",
                hint="Make room on the disk, or mend the folder's permissions, and run again. Another folder (--state) "
                "has another ledger, which knows of nothing that was delivered.",
            ) from error

    def _take(self) -> None:
        until = time.monotonic() + _NAMED_WITHIN
        while True:
            # Programs that are started don't inherit it (O_CLOEXEC is Python's default).
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            _held.add(self)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if holder(self._path.parent) is not None or time.monotonic() > until:
                    self.let_go()
                    raise self._taken() from None
            else:
                if self._is_in_place():
                    return
            self.let_go()
            time.sleep(0.02)

    def _taken(self) -> LockedError:
        # Also one that seems to be gone: a process id of another container means nothing here.
        return taken(
            str(self._path.parent),
            _named(self._path),
            f"Removing {LOCK_FILE} does not help: the lock goes with its process.",
        )

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def verify(self) -> None:
        """Raises StorageError when the lock's file is gone or new: a second run may have started."""
        if not self._is_in_place():
            raise StorageError(
                f"the lock {self._path} was removed or replaced while this run held it",
                hint="Another run may have started. When no other goes on, run again.",
            )

    def release(self) -> None:
        """Gives the lock back; a second call does nothing."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
        self.let_go()

    def let_go(self) -> None:
        """Closes this process's hold; a process that shares it keeps it."""
        _held.discard(self)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    # A forked child shares the open file, and with it the lock: it would keep it when its parent is killed.
    # Closing the child's copy leaves the parent's lock as it is.
    for lock in list(_held):
        lock.let_go()


os.register_at_fork(after_in_child=_let_go_in_child)


def network_filesystem(path: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system that holds `path`; None for a local one, or without a /proc.

    `mounts` is the text of /proc/mounts.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    real = Path(os.path.realpath(path))
    best, found = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = Path(_unescaped(fields[1]))
        # The last of equal mounts lies on top.
        if (real == place or place in real.parents) and len(place.parts) >= best:
            best, found = len(place.parts), fields[2]
    return found if found in _NETWORK else None


def _unescaped(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
