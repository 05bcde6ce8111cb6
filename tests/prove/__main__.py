"""`python -m tests.prove`: ten stores' events on three Ray nodes that are killed at random; prints what holds.

The three nodes are processes on this machine, and share its cores. The receiving end is a server of our own, which
keeps how often each event came and when each request did, and answers 429 above a store's limit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.prove.proof import BLOWS, RECOVERY, Found, Proof, prove
from tests.prove.sink import store_name

# With four places a core two nodes still have one for each part that is sent: 20.
CPUS = 3
_BEGAN = time.monotonic()


def _say(text: str) -> None:
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {text}", flush=True)


def report(found: Found) -> str:
    """The figures, for people."""
    proof, events = found.proof, found.result.summary["events"]
    total = proof.each * (proof.stores - proof.refusing)
    sending = max(one.times.max() for one in found.served) - min(one.times.min() for one in found.served)
    ideal = proof.each / 100 / proof.rate
    lines = [
        "",
        f"{'':9}{'requests':>9}{'seconds':>9}{'calm':>9}{'whole':>9}{'above':>8}{'gap':>7}{'at kill':>9}{'twice':>8}",
    ]
    for number, (pace, one) in enumerate(zip(found.paces, found.arrived, strict=False)):
        twice = int(one.counts.sum()) - int((one.counts > 0).sum())
        lines.append(
            f"{store_name(number):9}{pace.requests:>9,}{pace.seconds:>9.1f}{pace.kept:>9.2%}{pace.whole:>9.2%}"
            f"{pace.above:>8.1f}{pace.gap:>7.2f}{pace.gap_at_kill:>9.2f}{twice:>8,}"
        )
    kinds: dict[str, int] = {}
    for _, what in found.blows:
        kinds[what.partition(" (")[0]] = kinds.get(what.partition(" (")[0], 0) + 1
    bound = "their limits" if sending < 1.1 * ideal else "kills, or this machine"
    counts = ", ".join(f"{count:,} {name}" for name, count in events.items() if count)
    struck = ", ".join(f"{count} x {what}" for what, count in kinds.items()) or "none"
    return "\n".join(
        [
            *lines,
            "",
            "calm: share of the limit apart from the time after each kill; whole: with it; above: the most requests in",
            "any time t above limit x t; gap: the longest time in seconds without a request, apart from kills and after",
            f"them ({RECOVERY:g} s). The limit is {proof.rate:g} requests/s; {found.most_above:.1f} may be above it.",
            "",
            f"events: {total:,}; missing: {found.missing:,}; arrived twice: {found.twice:,} ({found.twice / total:.3%})",
            f"summary: {counts}; exit {found.result.status}",
            f"429s: {sum(one.limited for one in found.arrived)}",
            f"kills: {struck}",
            f"checked in {found.checking:.0f} s; sent in {sending:.1f} s, {total / sending:,.0f} events/s",
            f"the limits alone let it be {ideal:.0f} s: bound by {bound}",
            f"this machine: {os.cpu_count()} cores, {found.busy:.0%} busy, with all else that ran on it",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="in all (2,000,000)")
    parser.add_argument("--stores", type=int, default=10)
    parser.add_argument("--rate", type=float, default=10.0, help="requests/s of a store, of 100 events each (10)")
    parser.add_argument("--parts", type=int, default=4, help="files of a store (4)")
    parser.add_argument("--every", type=float, nargs=2, default=(20.0, 30.0), metavar="S", help="seconds between kills")
    parser.add_argument("--blows", nargs="+", choices=BLOWS, default=BLOWS, help="what is killed")
    parser.add_argument("--refusing", type=int, default=0, metavar="N", help="stores that answer 401 to everything")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--postgres", action="store_true", help="the ledger on a PostgreSQL server of its own")
    chosen = parser.parse_args()
    os.environ["REDO_API_SECRET"] = "prove"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    with ExitStack() as stack:
        ledger = None
        if chosen.postgres:
            from tests.ledger.server import Server

            server = Server()
            stack.callback(server.remove)
            ledger = server.url(server.database())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backfill-prove-")))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": CPUS, "include_dashboard": False})
        stack.callback(cluster.shutdown)
        for _ in range(2):
            cluster.add_node(num_cpus=CPUS)
        _say(f"three nodes of {CPUS} cores each, by Ray's count")
        proof = Proof(
            events=chosen.events, stores=chosen.stores, rate=chosen.rate, parts=chosen.parts, seed=chosen.seed,
            every=tuple(chosen.every), blows=chosen.blows, ledger=ledger, refusing=chosen.refusing,
        )  # fmt: skip
        found = prove(proof, cluster, folder, _say, CPUS)
    print(report(found))
    wrong = found.wrong()
    for one in wrong:
        print(f"WRONG: {one}")
    print("all holds" if not wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
