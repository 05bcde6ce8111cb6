"""What backfill costs, beside the plain ways of doing the same: `make bench`, or `python -m tests.bench --help`.

    export    the made-up orders and their mapping           sink    answers 202 to everything
    watch     a command: its time, its CPU, its memory       plain   the alternatives: scripts, each its own command
    measures  what is measured, one function each            table   how it is shown

Every figure comes from a process of its own, so that memory and CPU are its own. Machines differ and drift: compare
the figures of one run with each other, never with those of another.
"""
