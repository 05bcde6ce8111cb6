"""Programs that stand in for the real ones, and a shop to send from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end import conftest as shops

box, lone_shop, start = shops.box, shops.lone_shop, shops.start


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A `backfill` that ends as `statuses` says, a status each time, and a `sleep` that notes for how long."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in {
        "backfill": 'echo "backfill $*"; set -- $(cat statuses)\n'
        'echo "run $REDO_API_SECRET_FILE${BACKFILL_PING_FILE:+, $BACKFILL_PING_FILE}" >> log\n'
        'status=$1; shift; echo "$*" > statuses; exit "$status"',
        "sleep": 'echo "sleep $1" >> log',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder
