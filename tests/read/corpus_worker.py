"""Runs `check` on the files that stdin names, one a line, and says on stdout how each ended, as JSON; for test_corpora.

Beside what the command said stands what others say of the file: how many rows it has, and whether its last quote closes.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import resource
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import yaml

from backfill import cli
from backfill.mapping import CsvOptions
from backfill.read.dialect import HEAD_BYTES, Dialect, sniff

# Of addresses, not of memory: an idle Polars and Arrow have reserved 2 GB of them.
ADDRESS_BYTES = 3_000_000_000


def checked(path: Path, folder: Path) -> dict[str, Any]:
    """`check` of a mapping that makes an event of every row: its status, the numbers of `--json`, its error."""
    mapping = folder / "rows.yaml"
    event = {
        "eventName": "Row",
        "uniqueId": {"hash": "*", "occurrence": True, "prefix": "row:"},
        "eventTimestamp": "2024-01-01T00:00:00Z",
        "customer": {"email": "ann@example.com"},
    }
    source = {"files": str(path), "format": declared(path), "timezone": "UTC"}
    mapping.write_text(yaml.safe_dump({"source": source, "events": [event]}))
    out, err = io.StringIO(), io.StringIO()
    words = ["check", str(mapping), "--json", "--quiet"]
    with redirect_stdout(out), redirect_stderr(err):
        status = cli.guarded(lambda: cli.backfill.main(words, standalone_mode=False), debug=False)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    found = lines[-1] if lines else {}
    return {
        "status": status,
        "error": err.getvalue(),
        **{key: found.get(key) for key in ("rows", "events", "problems")},
    }


def declared(path: Path) -> str:
    """The format: what these files are called says little."""
    return "parquet" if "parquet" in path.parts[-2] else "csv"


def by_pyarrow(path: Path) -> dict[str, Any]:
    """`rows` of the footer, if it can be read."""
    import pyarrow.parquet as pq

    try:
        return {"rows": pq.read_metadata(path).num_rows}
    except (OSError, ValueError):
        return {}


def by_csv(path: Path) -> dict[str, Any]:
    """What Python's csv module reads under the dialect found: `rows` below the header, how many are `ragged`, and
    whether the file ends inside a quote, when it is `open`.
    """
    import zstandard

    csv.field_size_limit(sys.maxsize)
    data = path.read_bytes()
    while data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    dialect = sniff(data[:HEAD_BYTES], len(data) < HEAD_BYTES, CsvOptions())
    if dialect is None or data[:2] == b"PK":
        return {}
    text = data.decode(dialect.encoding, "replace").removeprefix("\ufeff")
    rows = read(text, dialect)
    # A line more is a record more, unless a quote takes it.
    is_open = len(read(text + "\nx", dialect)) == len(rows)
    rows = rows[1:] if dialect.header else rows
    return {"rows": len(rows), "ragged": sum(len(row) != len(dialect.columns) for row in rows), "open": is_open}


def read(text: str, dialect: Dialect) -> list[list[str]]:
    lines = list(io.StringIO(text, newline=""))[dialect.skip_lines :]
    return [row for row in csv.reader(lines, delimiter=dialect.separator, quotechar=dialect.quote) if row]


def peak() -> int:
    """The most bytes of memory that this process had so far; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 if status.exists() else 0


def main() -> None:
    """One line of stdout for each line of stdin, at once: a crash is then that of the file that has no answer."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            path = Path(line.rstrip("\n"))
            started = time.monotonic()
            try:
                answer = checked(path, Path(folder))
            except BaseException as error:  # noqa: BLE001  what is no error of ours is what the test looks for
                answer = {"bug": f"{type(error).__name__}: {error}"[:500]}
            answer["seconds"] = round(time.monotonic() - started, 3)
            answer["peak"] = peak()
            answer["others"] = by_pyarrow(path) if declared(path) == "parquet" else by_csv(path)
            sys.__stdout__.write(json.dumps(answer) + "\n")
            sys.__stdout__.flush()


if __name__ == "__main__":
    main()
