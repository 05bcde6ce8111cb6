"""The sandbox: a local stand-in for the events API, to rehearse against and to test with.

    options     what it is told
    server      Sandbox, serve: HTTP in, HTTP out         thread      SandboxThread
    api         the two endpoints                         limit, tally  rates and counts
    judge       a body -> verdicts, by the rules of `schema`
    journal     group commit into `store`                 kept          what is in it, as data
    manage      paths of its own, for this machine only   page, web/    the page and its scripts
    live        what the page asks for, by `look`         index         follows the store for it
    faults      what goes wrong, and when                 misbehave   how

It is written from the vendor's reference alone and shares no code with the sender: a rule that the sender
misreads is then not misread here in the same way.
"""

from __future__ import annotations

from backfill.sandbox.faults import Faults, FaultsError, Kind
from backfill.sandbox.kept import Stored, StoreError
from backfill.sandbox.options import Options
from backfill.sandbox.server import PREFIX, ListenError, Sandbox, serve
from backfill.sandbox.tally import Summary
from backfill.sandbox.thread import SandboxThread

__all__ = [
    "PREFIX",
    "Faults",
    "FaultsError",
    "Kind",
    "ListenError",
    "Options",
    "Sandbox",
    "SandboxThread",
    "StoreError",
    "Stored",
    "Summary",
    "serve",
]
