"""Any order of runs, kills, changed exports and mappings, lost ledgers and refusals, against a model of all of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from backfill.ledger import Ledger, Target, key
from tests.end_to_end.picky import Answer, PickyApi
from tests.faults.harness import KILLED, Place, Zygote
from tests.faults.test_kills import CALLS

STORE = "64e5a8a1af49a89df37e4ee7"
NUMBERS = st.integers(0, 11)
BAD = "bad"
EXAMPLES = 200 if os.environ.get("BACKFILL_EVERY_CALL") else 20
# Points that nearly every run with something to send passes.
POINTS = [
    f"{when}: {call}"
    for call in CALLS
    if not call.startswith(("make the folder", "commit making", "rename ledger", "commit entering"))
    and "rejected" not in call
    for when in (
        ["after"] if "answer" in call or call == "the run" else ["before"] if "request" in call else ["before", "after"]
    )
]


class Server:
    """The set of ids that the store has, with the content that came first; what it refuses; what came once more."""

    def __init__(self) -> None:
        self.kept: dict[str, float] = {}
        self.refuses: set[str] = set()
        self.again: list[str] = []
        self.differs: list[str] = []
        self.requests = 0

    def answer(self, events: list[dict[str, Any]]) -> Answer:
        self.requests += 1
        if any(event["uniqueId"] in self.refuses for event in events):
            return 400, {"title": "Bad Request", "detail": "not this one"}
        for event in events:
            one, content = event["uniqueId"], event["data"]["Total"]
            if one not in self.kept:
                self.kept[one] = content
                continue
            self.again.append(one)
            if self.kept[one] != content:
                self.differs.append(one)
        return 202, None


class Machine(RuleBasedStateMachine):
    """`rows` are the export's: (number, content), in order; `accepted` and `refused` what the ledger knows of ids."""

    zygote: ClassVar[Zygote]

    @initialize(endpoint=st.sampled_from(["single", "bulk"]))
    def begin(self, endpoint: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.server = Server()
        self.api = PickyApi(answer=self.server.answer)
        self.api.__enter__()
        box: Any = SimpleNamespace(base_url=self.api.base_url)
        self.place = Place(self.folder, box, self.zygote, STORE, {"concurrency": 3, "rate": 5000.0})
        self.endpoint, self.prefix, self.last_prefix = endpoint, "order", ""
        self.rows: list[tuple[int, int | str]] = [(i, 0) for i in range(5)]
        self.written = 1_700_000_000
        self.accepted: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.lost: set[str] = set()  # ids of which a ledger that went was the only one to know the content
        self.backup: tuple[dict[str, int], dict[str, int], str] | None = None

    def teardown(self) -> None:
        if hasattr(self, "api"):
            self.api.__exit__(None, None, None)
            shutil.rmtree(self.folder)

    # ------------------------------------------------------------------------------------------- what the user does

    @rule(number=NUMBERS, content=st.integers(0, 2))
    def add_row(self, number: int, content: int) -> None:
        """New, a duplicate, or in conflict with a row before."""
        self.rows.append((number, content))

    @rule(number=NUMBERS)
    def add_bad_row(self, number: int) -> None:
        self.rows.append((number, BAD))

    @rule(number=NUMBERS, content=st.integers(0, 2))
    def change_rows(self, number: int, content: int) -> None:
        self.rows = [(n, content if n == number else c) for n, c in self.rows]

    @rule(number=NUMBERS)
    def delete_rows(self, number: int) -> None:
        self.rows = [row for row in self.rows if row[0] != number] or [(0, 0)]

    @rule()
    def change_the_order(self) -> None:
        self.rows.reverse()

    @rule()
    def change_the_ids(self) -> None:
        self.prefix = "o" if self.prefix == "order" else "order"

    @rule(number=NUMBERS)
    def refuse(self, number: int) -> None:
        self.server.refuses ^= {f"{self.prefix}:{number}"}

    @rule()
    def back_up(self) -> None:
        if (self.place.state / "ledger.db").exists():
            self.open_ledger()  # which folds in what a killed run left in the log
            shutil.copy(self.place.state / "ledger.db", self.folder / "backup.db")
            self.backup = (dict(self.accepted), dict(self.refused), self.last_prefix)

    @precondition(lambda self: self.backup)
    @rule()
    def restore(self) -> None:
        assert self.backup is not None
        self.forget()
        shutil.copy(self.folder / "backup.db", self.place.state / "ledger.db")
        self.accepted, self.refused, self.last_prefix = dict(self.backup[0]), dict(self.backup[1]), self.backup[2]

    @rule()
    def lose_the_ledger(self) -> None:
        self.forget()
        self.accepted, self.refused, self.last_prefix = {}, {}, ""

    # ----------------------------------------------------------------------------------------------------- its runs

    @rule(retry=st.booleans(), new_ids=st.booleans())
    def run(self, retry: bool, new_ids: bool) -> None:
        self.write()
        before, again = self.server.requests, len(self.server.again)
        status = self.place.run(retry_rejected=retry, new_ids=new_ids)
        self.ended(status, retry=retry, new_ids=new_ids, before=before, again=again)

    @rule(point=st.sampled_from(POINTS), nth=st.integers(1, 3))
    def run_and_be_killed(self, point: str, nth: int) -> None:
        self.write()
        before, again = self.server.requests, len(self.server.again)
        status = self.place.run(kill=(point, nth))
        if status != KILLED:
            self.ended(status, retry=False, new_ids=False, before=before, again=again)
            return
        # What was recorded had arrived; what had arrived and was not recorded was in flight.
        known, refused = self.ledger_says()
        assert known.keys() <= self.server.kept.keys()
        in_flight = {one for one in self.sent(retry=False) & self.server.kept.keys() if one not in known}
        assert self.endpoint == "bulk" or len(in_flight) <= 6 + len(self.lost)
        assert self.accepted.keys() <= known.keys()
        self.accepted, self.refused = known, refused
        self.last_prefix = self.ledger_prefix()

    # ------------------------------------------------------------------------------------------------- the promises

    @invariant()
    def one_id_has_one_content(self) -> None:
        assert not hasattr(self, "server") or set(self.server.differs) <= self.lost

    def ended(self, status: int, *, retry: bool, new_ids: bool, before: int, again: int) -> None:
        """A run that came to its end did what the model says, and nothing else."""
        events = self.events()
        fresh = self.sent(retry=retry)
        summary = self.place.summary()
        counts = {name: count for name, count in summary["events"].items() if count}
        if self.stops() and not new_ids:
            assert status == 78, self.place.said()
            assert self.server.requests == before
            return
        bad = {one for one in fresh if one in self.server.refuses}
        good = fresh - bad
        known = {one for one in events if one in self.accepted}
        already = {one for one in known if self.accepted[one] == events[one]}
        kept_refusals = {one for one in events if one in self.refused and one not in fresh and one not in known}
        expected = {
            "total": len(self.rows),
            "invalid": self.invalid(),
            "duplicate": len(self.rows) - self.invalid() - len(events),
            "already_delivered": len(already),
            "changed": len(known - already),
            "accepted": len(good),
            "refused": len(bad) + len(kept_refusals),
        }
        assert counts == {name: count for name, count in expected.items() if count}, (self.place.said(), self.rows)
        assert status == (3 if expected["invalid"] or expected["refused"] else 0)
        assert good <= self.server.kept.keys()
        # Once more went only what the ledger did not know.
        assert set(self.server.again[again:]) <= good
        if not fresh:
            assert self.server.requests == before
        for one in good:
            self.accepted[one] = events[one]
            self.refused.pop(one, None)
        for one in bad:
            self.refused[one] = events[one]
        self.last_prefix = self.prefix
        assert self.ledger_says()[0] == {one: self.accepted[one] for one in self.accepted}

    # ----------------------------------------------------------------------------------------------------- the model

    def events(self) -> dict[str, int]:
        """The content of each event that can be sent: of equal ids the first row's."""
        found: dict[str, int] = {}
        for number, content in self.rows:
            if isinstance(content, int):
                found.setdefault(f"{self.prefix}:{number}", content)
        return found

    def invalid(self) -> int:
        """Bad rows, and those in conflict with one before."""
        events = self.events()
        return sum(content == BAD or events[f"{self.prefix}:{number}"] != content for number, content in self.rows)

    def sent(self, *, retry: bool) -> set[str]:
        """The ids that a run has to send."""
        return {
            one
            for one, content in self.events().items()
            if one not in self.accepted and (retry or self.refused.get(one) != content)
        }

    def stops(self) -> bool:
        """Whether delivered events of this export have other ids under the mapping as it is now."""
        if not self.last_prefix or self.last_prefix == self.prefix:
            return False
        was = {number for number, content in self.rows if f"{self.last_prefix}:{number}" in self.accepted}
        return any(int(one.partition(":")[2]) in was for one in self.sent(retry=False) if one not in self.refused)

    def forget(self) -> None:
        """The ledger goes, and with it the content under which ids were delivered."""
        self.lost |= self.accepted.keys()
        for path in self.place.state.glob("ledger.db*"):
            path.unlink()
        self.place.state.mkdir(exist_ok=True)

    def write(self) -> None:
        lines = ["order_id,at,total"]
        lines += [
            f"{n},{'never' if c == BAD else '2024-01-01T00:00:00Z'},{0 if c == BAD else c}.5" for n, c in self.rows
        ]
        text, orders = "\n".join(lines) + "\n", self.folder / "orders.csv"
        if not orders.exists() or orders.read_text() != text:
            orders.write_text(text)
            # Written a while ago, so that it is passed over once all of it is delivered.
            self.written += 1
            os.utime(orders, (self.written, self.written))
        event = {
            "eventName": "Order Placed",
            "uniqueId": self.prefix + ":{order_id}",
            "eventTimestamp": "{at}",
            "customer": {"email": "a@example.com"},
            "data": {"Total": {"column": "total", "type": "number"}},
        }
        delivery = {"endpoint": self.endpoint, "flows": "acknowledged"}
        tree = {"source": {"files": "orders.csv"}, "events": [event], "delivery": delivery}
        (self.folder / "orders.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))

    # ---------------------------------------------------------------------------------------------------- the ledger

    @property
    def target(self) -> Target:
        return Target(self.api.base_url, STORE)

    def open_ledger(self) -> None:
        Ledger.open(self.place.state, self.target).close()

    def ledger_prefix(self) -> str:
        with Ledger.read(self.place.state, self.target) as ledger:
            identity = ledger.identity("orders.yaml")
        return "" if identity is None else identity["events"][0]["uniqueId"]["template"].partition(":")[0]

    def ledger_says(self) -> tuple[dict[str, int], dict[str, int]]:
        """Which ids are accepted and which refused, with the content that the model has of them."""
        ids = {f"{prefix}:{number}" for prefix in ("order", "o") for number in range(12)}
        with Ledger.read(self.place.state, self.target) as ledger:
            ledger.check_integrity()
            found = ledger.find([key(one) for one in sorted(ids)])
        events = self.events()
        accepted, refused = {}, {}
        for one in ids:
            entry = found.get(key(one))
            if entry is not None and entry.accepted:
                accepted[one] = self.accepted.get(one, events.get(one, -1))
            elif entry is not None:
                # Of one that was refused before, a killed run may have recorded a new refusal.
                same = one not in events or self.refused.get(one) == events[one]
                refused[one] = self.refused.get(one, -1) if same else events[one]
        return accepted, refused


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_any_order_of_events(zygote: Zygote) -> None:
    Machine.zygote = zygote
    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=EXAMPLES, stateful_step_count=20, suppress_health_check=list(HealthCheck)),
    )
