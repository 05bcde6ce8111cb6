"""`python -m backfill`, and where the command `backfill` begins."""

from __future__ import annotations

import signal

# Until the command line is there, which turns Ctrl-C into a line: nothing is lost, and a traceback helps nobody.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from backfill.cli import main

if __name__ == "__main__":
    main()
