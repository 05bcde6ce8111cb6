"""What was accepted or refused, by store and uniqueId: with it any rerun sends only what is missing.

    open ─→ begin_run ─→ look_up …, record … ─→ set_files ─→ end_run ─→ close  one run, one writing connection
    read ─→ totals, runs, find ─→ close                                any number of them, also during a run

It holds digests of ids and bodies, the names of events, the API's own words for a refusal, the runs, what of each
mapping its ids hang on, and which files are delivered whole. It holds no secret, and of customers nothing else; only
the API's words could quote what they refuse.

The only part that knows the database: a file of SQLite's in the state folder, or, where `open` and `read` are given a
URL, PostgreSQL on a server (`postgres`, whose rules are told there). Three rules keep the file whole:

- One connection writes and makes checkpoints, and it alone. Before 3.51.3 SQLite can corrupt a WAL database when one
  connection makes a checkpoint while another commits and begins the log anew
  (https://sqlite.org/wal.html#walresetbug; Python 3.11 links 3.40.1): within one connection the two can't meet. The
  folder's lock sees to it that there is one, also when the lock's file is removed under a run (`verify`, before each
  commit and before the log is folded in at the end). Readers, and the look that `open_to_write` takes first, have the
  file open to read: they never commit, so nothing sets off a checkpoint, and can't get the lock that the one at a
  last close needs. The PRAGMA that would let even them reset a log is denied to them.
- Nobody but SQLite opens `ledger.db`: closing any other descriptor of a file drops every POSIX lock that this
  process has on it (https://sqlite.org/howtocorrupt.html, 2.2).
- A commit is in the operating system's hands when `record` returns, so a kill -9 loses nothing. WAL with
  synchronous=NORMAL does not wait for the disk: a power cut can lose the last commits. Their events are then
  sent again, under the same ids; none is lost.

`entries` is what is remembered, `book` the Ledger, `tables` what it asks of any database, `sqlite` how the file
answers, `accepted` how that finds one of 50 M events, `file` its file and folder, `lock` the one run at a time,
`trouble` what the user reads when the disk fails.
"""

from __future__ import annotations

from backfill.ledger.book import Ledger
from backfill.ledger.entries import Entry, RunInfo, RunRecord, Target, Totals, content, contents, key, keys
from backfill.ledger.file import LEDGER_FILE
from backfill.ledger.lock import LOCK_FILE

__all__ = [
    "LEDGER_FILE",
    "LOCK_FILE",
    "Entry",
    "Ledger",
    "RunInfo",
    "RunRecord",
    "Target",
    "Totals",
    "content",
    "contents",
    "key",
    "keys",
]
