"""The ledger in a PostgreSQL database: for jobs whose disk does not last, and for many stores on many machines.

`address` is where the server is, `schema` the tables, `session` the connection and its lock, `packed` digests by the
thousand, `tables` what is asked, `store` the transactions, `trouble` what the user reads when the server fails.
"""

from __future__ import annotations

from pathlib import Path

from backfill.disk import Disk
from backfill.ledger.entries import Target
from backfill.ledger.postgres.address import parse
from backfill.ledger.tables import Store

__all__ = ["open_store", "read_store"]

# psycopg may not be installed, which `parse` is to say: what needs it is imported after that.


def open_store(url: str, folder: Path, target: Target, disk: Disk) -> Store:
    """To write, with the lock on the target until `close`; `folder` is for the runs' own."""
    address = parse(url, writes=True)
    from backfill.ledger.postgres.store import PostgresStore

    return PostgresStore.open(address, folder, target, disk)


def read_store(url: str) -> Store:
    """To look at; of a database without a ledger, too."""
    address = parse(url, writes=False)
    from backfill.ledger.postgres.store import PostgresStore

    return PostgresStore.read(address)
