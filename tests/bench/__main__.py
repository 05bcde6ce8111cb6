"""`python -m tests.bench [--quick] [--only NAME]`: measure, and print a table; then the same as the README shows it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench.bench import FULL, QUICK, Bench
from tests.bench.measures import MEASURES
from tests.bench.table import machine, markdown, section_text
from tests.bench.watch import BenchError


def main() -> int:
    """Returns the exit status: 1 when something that was measured did not do its work."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows: seconds instead of minutes, rougher figures")
    parser.add_argument("--only", action="append", choices=MEASURES, metavar="NAME", help=", ".join(MEASURES))
    chosen = parser.parse_args()
    began = time.monotonic()
    print(machine(), flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backfill-bench-")))
        sections = []
        bench = Bench(QUICK if chosen.quick else FULL, folder, stack)
        for name in chosen.only or MEASURES:
            try:
                section = MEASURES[name](bench)
            except BenchError as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 1
            sections.append(section)
            print(f"\n{section_text(section)}", flush=True)
    print(f"\n{markdown(sections)}")
    print(f"\n`times`: a line's speed over that of the `1.00` above it. {time.monotonic() - began:.0f} s in all.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
