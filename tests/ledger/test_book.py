"""What is recorded is found again, as it was meant."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backfill.errors import BugError, SettingsError
from backfill.ledger import LEDGER_FILE, Entry, Ledger, RunInfo, Target, content, key
from backfill.records import Events, Outcome, Refusal
from tests.ledger.conftest import Ledgers

Accept = Callable[..., Outcome]
Refuse = Callable[..., Outcome]

NO = Refusal(400, "Bad Request", "value: must be a number")


@pytest.mark.parametrize(
    "unique_id, digest",
    [
        ("", "cae66941d9efbd404e4d88758ea67670"),
        ("order:1", "bfba7880a35c184f8aff8d79a7b4b49b"),
        ("cdnow:7f9c2ba4e88f827d616045507605853e", "2ca9b5f4986103da58032136a62db2ff"),
        ("Größe 📦", "76f28bc083bf3f56ff4a402788b8a349"),
    ],
)
def test_the_digest_of_an_id_never_changes(unique_id: str, digest: str) -> None:
    assert key(unique_id).hex() == digest


def test_the_digest_of_a_body_never_changes() -> None:
    assert content(b'{"eventName":"Order Placed"}').hex() == "0aed0fd37f199fadb858d4b9d0ffbf0f"


def test_an_id_that_is_no_text_still_has_a_digest() -> None:
    assert key("\ud800") == hashlib.blake2b(b"\xed\xa0\x80", digest_size=16).digest()


def test_what_is_recorded_is_found(
    ledgers: Ledgers, state: Path, target: Target, accept: Accept, refuse: Refuse
) -> None:
    with ledgers.open(state, target) as ledger:
        assert ledger.is_empty()
        run = ledger.begin_run(RunInfo("orders"))
        assert ledger.is_empty()
        ledger.record([accept(["a", "b"]), refuse(["c"], NO)], run)
        assert not ledger.is_empty()
    with ledgers.open(state, target) as ledger:
        assert not ledger.is_empty()
        assert ledger.find([key(text) for text in "dcba"]) == {
            key("a"): Entry(content(b"a"), accepted=True),
            key("b"): Entry(content(b"b"), accepted=True),
            key("c"): Entry(content(b"c"), accepted=False, refusal=NO),
        }


def test_accepted_is_final_and_refused_is_not(
    ledgers: Ledgers, state: Path, target: Target, accept: Accept, refuse: Refuse
) -> None:
    later = Refusal(422, "Unprocessable", "")
    with ledgers.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("orders"))
        ledger.record([refuse(["a", "b", "c"], NO)], run)
        ledger.record([refuse(["a"], later, version="2"), accept(["b"], version="2")], run)
        ledger.record([refuse(["b"], NO, version="3"), accept(["b"], version="4")], run)
        # In one batch too, whatever the order.
        ledger.record([accept(["c"]), refuse(["c"], NO)], run)
        assert ledger.find([key("a"), key("b"), key("c")]) == {
            key("a"): Entry(content(b"2a"), accepted=False, refusal=later),
            key("b"): Entry(content(b"2b"), accepted=True),
            key("c"): Entry(content(b"c"), accepted=True),
        }
        assert ledger.totals().refused == 1
        assert ledger.totals().accepted == {"Order Placed": 2}


IDS = st.sampled_from([f"id {number}" for number in range(12)])
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
BATCH = st.lists(
    st.tuples(IDS, st.binary(max_size=3), st.sampled_from("ABC"), st.none() | st.builds(Refusal, st.just(400), WORDS, WORDS)),
    max_size=8,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), BATCH), max_size=6))
def test_the_ledger_is_a_dictionary_that_survives(
    ledgers: Ledgers,
    batches: list[tuple[str, list[tuple[str, bytes, str, Refusal | None]]]],
) -> None:
    model: dict[tuple[str, str], tuple[str, Entry]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for store, batch in batches:
            ids = [unique_id for unique_id, *_ in batch]
            events = Events(
                bodies=[body for _, body, *_ in batch],
                ids=ids,
                keys=[key(unique_id) for unique_id in ids],
                contents=[content(body) for _, body, *_ in batch],
                names=[name for _, _, name, _ in batch],
                files=[0] * len(batch),
                rows=[0] * len(batch),
            )
            outcome = Outcome(
                events,
                accepted=[index for index, event in enumerate(batch) if event[3] is None],
                refused=[(index, event[3]) for index, event in enumerate(batch) if event[3] is not None],
            )
            with ledgers.open(Path(folder), Target("https://api.example.com", store)) as ledger:
                ledger.record([outcome], ledger.begin_run(RunInfo("m")))
            for unique_id, body, name, refusal in sorted(batch, key=lambda event: event[3] is None):
                known = model.get((store, unique_id))
                if known is None or not known[1].accepted:
                    model[store, unique_id] = (name, Entry(content(body), refusal is None, refusal))
        for store in ("one", "two"):
            with ledgers.read(Path(folder), Target("https://api.example.com", store)) as ledger:
                found = ledger.find([key(f"id {number}") for number in range(20)])
                ours = {unique_id: known for (at, unique_id), known in model.items() if at == store}
                assert found == {key(unique_id): entry for unique_id, (_, entry) in ours.items()}
                names = [name for name, entry in ours.values() if entry.accepted]
                totals = ledger.totals()
                assert totals.accepted == {name: names.count(name) for name in set(names)}
                assert totals.refused == sum(not entry.accepted for _, entry in ours.values())
                assert ledger.is_empty() == (not ours)
        ledgers.forget()


def test_more_keys_than_one_question_takes(ledgers: Ledgers, state: Path, target: Target, accept: Accept) -> None:
    ids = [str(number) for number in range(1_234)]
    with ledgers.open(state, target) as ledger:
        ledger.record([accept(ids)], ledger.begin_run(RunInfo("m")))
        assert len(ledger.find([key(text) for text in ids + ["x"] * 700])) == len(ids)
        assert ledger.find([]) == {}


def test_a_rehearsal_is_no_delivery(ledgers: Ledgers, state: Path, target: Target, accept: Accept) -> None:
    sandbox = Target("http://127.0.0.1:8787", target.store)
    with ledgers.open(state, sandbox) as ledger:
        ledger.record([accept(["a"])], ledger.begin_run(RunInfo("orders")))
    with ledgers.open(state, target) as ledger:
        assert ledger.is_empty()
        assert ledger.find([key("a")]) == {}
    with ledgers.read(state) as ledger:
        assert ledger.targets() == [sandbox, target]
        assert not ledger.is_empty()
        assert ledger.totals(sandbox).accepted == {"Order Placed": 1}
        assert ledger.totals(target).accepted == {}
        assert [run.target for run in ledger.runs()] == [sandbox]


@pytest.mark.parametrize(
    "spelling",
    [
        "https://api.example.com/v2.2",
        "https://API.example.com/v2.2/",
        "https://api.example.com:443/v2.2",
        "https://user:word@api.example.com/v2.2?token=secret#x",
    ],
)
def test_one_address_however_it_is_spelled(spelling: str) -> None:
    assert Target(spelling, "s").plain() == Target("https://api.example.com/v2.2", "s")


def test_addresses_that_differ_stay_apart() -> None:
    assert Target("http://[::1]:8787/", "s").plain() == Target("http://[::1]:8787", "s")
    assert Target("http://a:443", "s").plain() != Target("https://a:443", "s").plain()
    with pytest.raises(SettingsError) as caught:
        Target("http://user:word@a:port", "s").plain()
    assert "word" not in str(caught.value)


def test_runs_are_told_from_their_begin_to_their_end(
    ledgers: Ledgers, state: Path, target: Target, accept: Accept, refuse: Refuse
) -> None:
    clock = [datetime(2026, 1, 31, 23, 59, 59, 123000, tzinfo=UTC)]

    def now() -> datetime:
        clock[0] += timedelta(seconds=1)
        return clock[0]

    with ledgers.open(state, target, now=now) as ledger:
        run = ledger.begin_run(RunInfo("orders", "runs/1", "0.1.0"))
        (running,) = ledger.runs(5)
        assert running.running
        assert running.finished is None
        assert ledger.totals().unended == ()
        ledger.record([accept(["a", "b"]), refuse(["c"], NO)], run)
        ledger.record([accept(["b", "c"])], run)
        ledger.end_run(run, 3, {"rows": {"read": 3}})
        again = ledger.begin_run(RunInfo("returns"))
        ledger.record([accept(["a"])], again)
    with ledgers.read(state, target) as ledger:
        last, first = ledger.runs()
        assert [last] == ledger.runs(1)
        assert first.info == RunInfo("orders", "runs/1", "0.1.0")
        assert first.started == datetime(2026, 2, 1, 0, 0, 0, 123000, tzinfo=UTC)
        assert first.finished == first.started + timedelta(seconds=3)
        assert (first.accepted, first.refused, first.exit_status) == (3, 1, 3)
        assert first.summary == {"rows": {"read": 3}}
        # It was sent before: nothing new.
        assert (last.accepted, last.refused, last.running, last.finished) == (0, 0, False, None)
        totals = ledger.totals()
        assert totals.unended == (last,)
        assert totals.first_accepted == first.started + timedelta(seconds=1)
        assert totals.last_accepted == last.last_accepted


def test_identity_is_kept_by_target_and_mapping(ledgers: Ledgers, state: Path, target: Target) -> None:
    with ledgers.open(state, target) as ledger:
        assert ledger.identity("orders") is None
        ledger.set_identity("orders", {"template": "order:{id}"})
        ledger.set_identity("orders", {"template": "o:{id}", "columns": ["id"]})
    with ledgers.read(state, target) as ledger:
        assert ledger.identity("orders") == {"template": "o:{id}", "columns": ["id"]}
        assert ledger.identities() == {"orders": {"template": "o:{id}", "columns": ["id"]}}
        assert ledger.identity("returns") is None
    with ledgers.read(state, Target(target.base_url, "another")) as ledger:
        assert ledger.identity("orders") is None


def test_a_mark_is_kept_by_target_and_mapping(ledgers: Ledgers, state: Path, target: Target) -> None:
    with ledgers.open(state, target) as ledger:
        assert ledger.mark("orders") is None
        ledger.set_mark("orders", {"mark": 1})
        ledger.set_mark("orders", {"mark": 2})
        ledger.set_mark("odd \udcff", {"mark": 3})
    with ledgers.read(state) as ledger:
        assert ledger.marks(target) == {"odd \\udcff": {"mark": 3}, "orders": {"mark": 2}}
        assert ledger.marks(Target(target.base_url, "another")) == {}
    with ledgers.read(state, target) as ledger:
        assert ledger.mark("odd \udcff") == {"mark": 3}


def test_a_ledger_without_marks_is_read_as_it_is_and_then_upgraded(state: Path, target: Target) -> None:
    Ledger.open(state, target).close()
    with closing(sqlite3.connect(state / LEDGER_FILE)) as database:
        database.execute("DROP TABLE marks")
        database.execute("PRAGMA user_version = 2")
    with Ledger.read(state, target) as ledger:
        assert ledger.marks() == {}
    with Ledger.open(state, target) as ledger:
        ledger.set_mark("orders", {"mark": 1})
        assert ledger.mark("orders") == {"mark": 1}


def test_a_ledger_that_is_not_there_is_empty(ledgers: Ledgers, state: Path, target: Target) -> None:
    with ledgers.read(state, target) as ledger:
        assert ledger.is_empty()
        assert ledger.find([key("a")]) == {}
        assert ledger.runs(5) == []
        assert ledger.targets() == []
        assert ledger.totals().accepted == {}
        assert ledger.identity("orders") is None
        ledger.check_integrity()
    assert not state.exists()


def test_words_that_no_database_takes(
    ledgers: Ledgers, state: Path, target: Target, accept: Accept, refuse: Refuse
) -> None:
    odd = Refusal(400, "\ud800 \x00 \x1b[2J", "d" * 70_000)
    with ledgers.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("orders \udcff"))
        ledger.record([refuse(["a"], odd), accept(["b"], name="\ud800")], run)
        refusal = ledger.find([key("a")])[key("a")].refusal
        assert refusal is not None
        # The one letter that PostgreSQL can't hold, and SQLite can.
        nul = "\x00" if ledgers.kind == "sqlite" else "\\x00"
        assert refusal.title == f"\\ud800 {nul} \x1b[2J"
        assert refusal.detail == "d" * 1_999 + "…"
        assert ledger.totals().accepted == {"\\ud800": 1}


def test_a_batch_is_kept_as_a_whole_or_not_at_all(
    ledgers: Ledgers, state: Path, target: Target, accept: Accept
) -> None:
    with ledgers.open(state, target) as ledger:
        with pytest.raises(BugError):
            ledger.record([accept(["a"], name="New")], 77)
        assert ledger.is_empty()
        ledger.record([accept(["a"], name="New")], ledger.begin_run(RunInfo("m")))
        assert ledger.totals().accepted == {"New": 1}


def test_what_is_not_meant_to_be_done(ledgers: Ledgers, state: Path, target: Target, accept: Accept) -> None:
    ledger = ledgers.open(state, target)
    ledger.close()
    ledger.close()
    with pytest.raises(BugError, match="closed"):
        ledger.find([key("a")])
    with ledgers.read(state) as reader:
        with pytest.raises(BugError, match="opened to read"):
            reader.begin_run(RunInfo("m"))
        with pytest.raises(BugError, match="without a target"):
            reader.find([key("a")])
        with pytest.raises(BugError, match="without a target"):
            reader.totals()


def test_threads_take_turns(ledgers: Ledgers, state: Path, target: Target, accept: Accept) -> None:
    with ledgers.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        failed: list[Exception] = []

        def work(thread: int) -> None:
            try:
                for number in range(30):
                    ledger.record([accept([f"{thread}:{number}"])], run)
                    assert ledger.find([key(f"{thread}:{number}")])
            except Exception as error:  # noqa: BLE001  (told to the test's own thread)
                failed.append(error)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert ledger.totals().accepted == {"Order Placed": 120}


def test_nothing_of_a_customer_is_kept(ledgers: Ledgers, state: Path, target: Target, accept: Accept) -> None:
    with ledgers.open(state, Target("https://me:canary-secret@api.example.com", "store")) as ledger:
        ledger.record([accept(["jane@example.com"], version="body")], ledger.begin_run(RunInfo("m")))
    for path in state.iterdir():
        assert b"jane" not in path.read_bytes()
        assert b"canary" not in path.read_bytes()
