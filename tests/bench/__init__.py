"""What backfill costs, beside the plain ways of doing the same: `make bench`, or `python -m tests.bench --help`.

    bench     sizes, and what the measures share             measures  what is measured, one function each
    export    the made-up orders and their mapping           table     how it is shown
    sink      answers 202 to everything                      box       the sandbox: the API with its rate limit
    watch     a command: its time, its CPU, its memory       plain     the alternatives: scripts, each its own command
    memory    the ledger, with nothing around it             trace     which stages work at the same time

Every figure comes from a process of its own, so that memory and CPU are its own. Machines differ and drift: compare
the figures of one run with each other, never with those of another.
"""
