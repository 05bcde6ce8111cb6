"""Reads the files that stdin names, one a line, and says on stdout how each ended, as JSON; for test_corpora."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from backfill.errors import ExportError, SettingsError
from backfill.mapping import Source
from backfill.read import open_export
from backfill.records import FILE, ROW

MEMORY_BYTES = 4_000_000_000


def ending(path: Path) -> dict[str, object]:
    """`rows` and `rejected` counted, or the `error` that the user would see."""
    rows = 0
    rejected: list[str] = []
    try:
        export = open_export(Source(files=[str(path)], format=declared(path)), path.parent)
        for chunk in export.chunks():
            assert chunk.frame.columns[-2:] == [FILE, ROW]
            assert chunk.frame[ROW].null_count() == 0
            assert chunk.frame.schema == {**export.schema, FILE: chunk.frame.schema[FILE], ROW: chunk.frame.schema[ROW]}
            rows += chunk.frame.height
            rejected += [bad.problem for bad in chunk.unreadable if bad.detail and bad.row > 0]
            assert len([bad for bad in chunk.unreadable if not (bad.detail and bad.row > 0)]) == 0
    except (ExportError, SettingsError) as error:
        return {"error": error.message}
    return {"rows": rows, "rejected": rejected}


def declared(path: Path) -> str:
    """The format: what these files are called says little."""
    return "parquet" if "parquet" in path.parts[-2] else "csv"


def main() -> None:
    """One line of stdout for each line of stdin, at once: a crash is then that of the file that has no answer."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for line in sys.stdin:
        started = time.monotonic()
        try:
            answer = ending(Path(line.rstrip("\n")))
        except BaseException as error:  # noqa: BLE001  what is no error of ours is what the test looks for
            answer = {"bug": f"{type(error).__name__}: {error}"[:500]}
        answer["seconds"] = round(time.monotonic() - started, 3)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
