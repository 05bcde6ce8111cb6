"""What is PostgreSQL's own: the lock that goes with its connection, servers that go and come back, rights and URLs."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backfill.disk import Database, Disk
from backfill.errors import BackfillError, LockedError, SettingsError, StorageError
from backfill.help import page
from backfill.ledger import Ledger, RunInfo, Target, key
from backfill.ledger.postgres.address import has_password, parse
from backfill.records import Outcome
from tests.conftest import Require
from tests.ledger.conftest import Ledgers
from tests.ledger.server import Server

psycopg = pytest.importorskip("psycopg")
sessions = pytest.importorskip("backfill.ledger.postgres.session")

Accept = Callable[..., Outcome]
Recorder = Callable[..., "subprocess.Popen[str]"]

SECRET = "canary-5ecret"


@pytest.fixture
def url(server: Server) -> Any:
    name = server.database()
    yield server.url(name)
    server.take_back(name)


@pytest.fixture
def ask(url: str) -> Callable[..., list[tuple[Any, ...]]]:
    """Asks the server by the way."""

    def ask(text: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(url, autocommit=True) as other:
            done = other.execute(text.encode(), values or None)
            return done.fetchall() if done.description else []

    return ask


def backend(ledger: Ledger) -> int:
    return int(ledger._store.session.connection.info.backend_pid)


def ids(first: int, count: int) -> list[str]:
    return [f"order:{number}" for number in range(first, first + count)]


# ---------------------------------------------------------------------------------------------------- one run at a time


def test_stores_run_side_by_side_and_a_store_once(state: Path, url: str, target: Target, accept: Accept) -> None:
    other = Target(target.base_url, "another")
    with Ledger.open(state, target, url=url) as one, Ledger.open(state, other, url=url) as two:
        runs = one.begin_run(RunInfo("m")), two.begin_run(RunInfo("m"))
        one.record([accept(["a"])], runs[0])
        two.record([accept(["a", "b"])], runs[1])
        began = time.monotonic()
        with pytest.raises(LockedError, match=f"for store another: process {os.getpid()} on {socket.gethostname()}"):
            Ledger.open(state, other, url=url)
        assert time.monotonic() - began < 1
        with Ledger.read(state, url=url) as look:
            assert [run.running for run in look.runs()] == [True, True]
    with Ledger.read(state, url=url) as look:
        assert [look.totals(at).accepted for at in (target, other)] == [{"Order Placed": 1}, {"Order Placed": 2}]
        assert [run.running for run in look.runs()] == [False, False]


def test_a_run_that_is_killed_leaves_no_lock(recorder: Recorder, state: Path, url: str, target: Target) -> None:
    process = recorder(0, 10, 10, "hold", url)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)]
    process.kill()
    process.wait()
    began = time.monotonic()
    with Ledger.open(state, target, url=url) as ledger:
        assert time.monotonic() - began < 2
        assert len(ledger.find([key(one) for one in ids(0, 10)])) == 10
        assert [run.running for run in ledger.runs()] == [False]


def test_who_makes_the_tables_at_once_takes_turns(state: Path, url: str, target: Target) -> None:
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            with Ledger.open(state, Target(target.base_url, f"store {number % 4}"), url=url) as ledger:
                ledger.begin_run(RunInfo("m"))
        except LockedError:
            pass
        except BaseException as error:  # noqa: BLE001 (told to the test's own thread)
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with Ledger.read(state, url=url) as ledger:
        assert len(ledger.targets()) == 4


# ---------------------------------------------------------------------------------------------- connections that break


class Breaking(Disk):
    """The connection breaks at a commit: before the server has it, or after."""

    def __init__(self, break_it: Callable[[], object], *, after: bool) -> None:
        self.break_it = break_it
        self.after = after
        self.at = -1

    def commit(self, database: Database, doing: str) -> None:
        self.at -= 1
        if self.at == 0 and not self.after:
            self.break_it()
        super().commit(database, doing)
        if self.at == 0 and self.after:
            self.break_it()
            # What the client sees when the answer to its commit does not come.
            database.execute("SELECT 1")


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_whose_answer_is_lost_counts_once(
    state: Path, url: str, target: Target, accept: Accept, ask: Callable[..., Any], after: bool
) -> None:
    held: list[Ledger] = []
    disk = Breaking(lambda: ask("SELECT pg_terminate_backend(%s, 5000)", backend(held[0])), after=after)
    with Ledger.open(state, target, url=url, disk=disk) as ledger:
        held.append(ledger)
        disk.at = 1
        run = ledger.begin_run(RunInfo("m"))
        for number in range(3):
            disk.at = 1
            ledger.record([accept(ids(number * 100, 100))], run)
        assert disk.at <= 0
        assert [one.accepted for one in ledger.runs()] == [300]
        assert ledger.totals().accepted == {"Order Placed": 300}
        assert [one.running for one in ledger.runs()] == [True]
        ledger.check_integrity()


class Interrupted(Disk):
    """Ctrl-C comes when a commit has just gone through."""

    def commit(self, database: Database, doing: str) -> None:
        super().commit(database, doing)
        if doing == "recording outcomes":
            raise KeyboardInterrupt


def test_an_interrupt_at_a_commit_leaves_no_doubt(state: Path, url: str, target: Target, accept: Accept) -> None:
    with Ledger.open(state, target, url=url, disk=Interrupted()) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                ledger.record([accept(["a"])], run)
        ledger.end_run(run, 130, {})
        assert ledger.runs()[0].accepted == 1


def test_a_look_up_goes_on_with_a_new_connection(
    state: Path, url: str, target: Target, accept: Accept, ask: Callable[..., Any]
) -> None:
    with Ledger.open(state, target, url=url) as ledger, Ledger.read(state, target, url=url) as look:
        ledger.record([accept(["a"])], ledger.begin_run(RunInfo("m")))
        assert look.find([key("a")])
        ask("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()")  # fmt: skip
        assert look.find([key("a")])
        assert ledger.find([key("a")])
        with pytest.raises(LockedError):
            Ledger.open(state, target, url=url)


def test_without_its_lock_a_run_records_nothing(
    state: Path, url: str, target: Target, accept: Accept, ask: Callable[..., Any]
) -> None:
    first = Ledger.open(state, target, url=url)
    run = first.begin_run(RunInfo("m"))
    ask("SELECT pg_terminate_backend(%s, 5000)", backend(first))
    with Ledger.open(state, target, url=url) as second:
        with pytest.raises(StorageError, match=f"process {os.getpid()} on .* has taken since") as caught:
            first.record([accept(["a"])], run)
        assert caught.value.status == 74
        assert second.is_empty()
    # Also when the other one has ended, and the lock is free again.
    with pytest.raises(StorageError):
        first.record([accept(["a"])], run)
    first.close()
    with Ledger.open(state, target, url=url) as third:
        assert third.is_empty()


def test_the_lock_given_away_stops_the_run(state: Path, url: str, target: Target, accept: Accept) -> None:
    with Ledger.open(state, target, url=url) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        # As a pool does between two clients.
        ledger._store.session.connection.execute("DISCARD ALL")
        with pytest.raises(StorageError, match="a connection pool hands this session to others"):
            ledger.record([accept(["a"])], run)
    with Ledger.read(state, target, url=url) as look:
        assert look.is_empty()


def test_a_session_that_is_anothers_is_refused(
    state: Path, url: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pooled(address: Any) -> Any:
        connection = connect(address)
        connection.execute("SELECT set_config('backfill.session', 'of another', false)")
        return connection

    connect = sessions.connect
    monkeypatch.setattr(sessions, "connect", pooled)
    with pytest.raises(StorageError, match="a connection pool") as caught:
        Ledger.open(state, target, url=url)
    assert "session mode" in caught.value.hint


@pytest.fixture
def pool(server: Server, require: Require) -> Iterator[Callable[[str], str]]:
    """`pool("session")`: PgBouncer in front of the server, in this mode; it has the server's databases."""
    require("pgbouncer", "PgBouncer is not installed")
    started: list[subprocess.Popen[bytes]] = []

    def start(mode: str) -> str:
        folder = server.folder / mode
        folder.mkdir()
        if server.run_as:
            shutil.chown(folder, server.run_as[2])
        settings = {"listen_addr": "", "unix_socket_dir": folder, "auth_type": "any", "pool_mode": mode}
        lines = [f"[databases]\n* = host={server.folder} user=backfill\n[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (folder / "pool.ini").write_text("\n".join(lines) + "\n")
        words = [*server.run_as, shutil.which("pgbouncer") or "", "-q", str(folder / "pool.ini")]
        started.append(subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        until = time.monotonic() + 20
        while not (folder / ".s.PGSQL.6432").exists():
            assert time.monotonic() < until, "PgBouncer does not start"
            time.sleep(0.02)
        return f"host={folder}&port=6432"

    yield start
    for process in started:
        process.terminate()
        process.wait()


def test_a_pool_that_would_share_the_lock_is_refused(
    server: Server, pool: Callable[[str], str], state: Path, url: str, target: Target, accept: Accept
) -> None:
    shared, own = (url.replace(f"host={server.folder}", pool(mode)) for mode in ("transaction", "session"))
    with pytest.raises(StorageError, match="a connection pool hands this session to others"):
        Ledger.open(state, target, url=shared)
    with Ledger.open(state, target, url=own) as ledger:
        ledger.record([accept(["a"])], ledger.begin_run(RunInfo("m")))
        for through in (own, url):
            with pytest.raises(LockedError):
                Ledger.open(state, target, url=through)
        # Who only asks needs no lock.
        for _ in range(3):
            with Ledger.read(state, target, url=shared) as look:
                assert look.find([key("a")])
    Ledger.open(state, target, url=own).close()


def test_a_restored_server_is_noticed(
    state: Path, url: str, target: Target, accept: Accept, ask: Callable[..., Any]
) -> None:
    with Ledger.open(state, target, url=url) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        ledger.record([accept(["a"])], run)
        ask("SELECT pg_terminate_backend(%s, 5000)", backend(ledger))
        ask("UPDATE backfill.holders SET commits = commits - 1")
        with pytest.raises(StorageError, match="has forgotten the last 1 commits"):
            ledger.record([accept(["b"])], run)


@pytest.mark.parametrize("how", ["immediate", "fast", "kill"])
def test_a_run_goes_on_over_a_restart(
    own_server: Server, state: Path, target: Target, accept: Accept, how: str
) -> None:
    url = own_server.url(own_server.database())
    with Ledger.open(state, target, url=url) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        ledger.record([accept(ids(0, 100))], run)
        if how == "kill":
            own_server.kill()
        else:
            own_server.stop(how)
        starter = threading.Timer(1.0, own_server.start)
        starter.start()
        ledger.record([accept(ids(100, 100))], run)
        starter.join()
        assert ledger.runs()[0].accepted == 200
        assert ledger.runs()[0].running
        ledger.check_integrity()


def test_a_server_that_stays_away_ends_the_run(
    own_server: Server, state: Path, target: Target, accept: Accept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PATIENCE", 0.5)
    url = own_server.url(own_server.database(), password=SECRET)
    with Ledger.open(state, target, url=url) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        own_server.kill()
        with pytest.raises(StorageError, match=r"recording outcomes, 0\.5 s after the connection was lost") as caught:
            ledger.record([accept(["a"])], run)
        assert "See that the server runs" in caught.value.hint
        assert SECRET not in f"{caught.value}{caught.value.hint}"
        began = time.monotonic()
        with pytest.raises(StorageError, match="ending the run, 0 s after"):
            ledger.end_run(run, 74, {})
        assert time.monotonic() - began < 0.4
        own_server.start()
        ledger.end_run(run, 74, {})
        own_server.stop()
    with pytest.raises(StorageError, match="opening the ledger in postgresql:///ledger_1"):
        Ledger.open(state, target, url=url)
    with pytest.raises(StorageError, match="reading the ledger in"):
        Ledger.read(state, target, url=url)


# --------------------------------------------------------------------------------------------------- what is there, and not


def test_a_newer_ledger_is_left_as_it_is(state: Path, url: str, target: Target, ask: Callable[..., Any]) -> None:
    Ledger.open(state, target, url=url).close()
    ask("UPDATE backfill.meta SET value = CASE key WHEN 'version' THEN '99' WHEN 'release' THEN '9.1.0' ELSE value END")
    for opened in (lambda: Ledger.open(state, target, url=url), lambda: Ledger.read(state, url=url)):
        with pytest.raises(SettingsError, match=r"newer release of backfill \(version 99 of the ledger") as caught:
            opened()
        assert "release 9.1.0 or later" in caught.value.hint


def test_another_programs_schema_is_left_alone(state: Path, url: str, target: Target, ask: Callable[..., Any]) -> None:
    ask("CREATE SCHEMA backfill")
    ask("CREATE TABLE backfill.runs (mine integer)")
    with pytest.raises(StorageError, match="another program's"):
        Ledger.open(state, target, url=url)


def test_a_store_that_was_dropped_begins_anew(
    state: Path, url: str, target: Target, accept: Accept, ask: Callable[..., Any]
) -> None:
    for _ in range(2):
        with Ledger.open(state, target, url=url) as ledger:
            assert ledger.is_empty()
            ledger.record([accept(["a"])], ledger.begin_run(RunInfo("m")))
            assert not ledger.is_empty()
        ((number,),) = ask("SELECT id FROM backfill.targets")
        # As the page on the ledger says.
        ask(f"BEGIN; DROP TABLE backfill.events_{number}; DELETE FROM backfill.targets WHERE id = {number}; COMMIT")


def test_what_the_page_shows_works(
    state: Path, url: str, target: Target, accept: Accept, ask: Callable[..., Any]
) -> None:
    with Ledger.open(state, target, url=url) as ledger:
        ledger.record([accept(["a", "b"])], ledger.begin_run(RunInfo("m")))
    shown = re.findall(r"^```sql\n(.*?)^```", page("ledger-postgresql"), re.MULTILINE | re.DOTALL)[1]
    ask_size, forget = re.split(r"^-- forgetting.*\n", shown, flags=re.MULTILINE)
    ((number, store, base_url, events, _),) = ask(ask_size)
    assert (store, base_url, events) == (target.store, target.base_url, 2)
    ask(forget.replace("17", str(number)))
    with Ledger.read(state, url=url) as ledger:
        assert ledger.targets() == []
        assert ledger.is_empty()
        ledger.check_integrity()


def test_damage_is_found(state: Path, url: str, target: Target, accept: Accept, ask: Callable[..., Any]) -> None:
    with Ledger.open(state, target, url=url) as ledger:
        ledger.record([accept(["a", "b"])], ledger.begin_run(RunInfo("m")))
        ledger.check_integrity()
        ask("DELETE FROM backfill.events WHERE key = %s::uuid", key("a").hex())
        with pytest.raises(StorageError, match="1 events of target 1 are there, and 2 were counted"):
            ledger.check_integrity()


def test_a_role_without_rights_is_told_what_it_needs(
    server: Server, state: Path, url: str, target: Target, ask: Callable[..., Any]
) -> None:
    ask("DROP ROLE IF EXISTS guest")
    ask("CREATE ROLE guest LOGIN")
    guest = url.replace("backfill@", "guest@")
    try:
        with pytest.raises(StorageError, match="permission denied") as caught:
            Ledger.open(state, target, url=guest)
        assert "GRANT CREATE ON DATABASE" in caught.value.hint
        Ledger.open(state, target, url=url).close()
        with pytest.raises(StorageError, match="permission denied"):
            Ledger.read(state, target, url=guest)
        ask("GRANT USAGE ON SCHEMA backfill TO guest")
        ask("GRANT SELECT ON ALL TABLES IN SCHEMA backfill TO guest")
        with Ledger.open(state, target, url=url) as ledger, Ledger.read(state, target, url=guest) as look:
            ledger.begin_run(RunInfo("m"))
            assert look.runs()[0].running
    finally:
        ask("DROP OWNED BY guest")
        ask("DROP ROLE guest")


def test_a_search_path_of_the_roles_own_changes_nothing(
    state: Path, url: str, target: Target, accept: Accept, ask: Callable[..., Any]
) -> None:
    ask("CREATE TABLE IF NOT EXISTS public.runs (mine integer)")
    with Ledger.open(state, target, url=f"{url}&options=-csearch_path%3Dpublic,backfill") as ledger:
        ledger.record([accept(["a"])], ledger.begin_run(RunInfo("m")))
    ask("DROP TABLE public.runs")


# ------------------------------------------------------------------------------------------------------------------ URLs


@pytest.mark.parametrize(
    "wrong",
    [
        "mysql://x/y",
        f"postgresql://me:{SECRET}@x:port/y",
        f"postgresql://me:p@{SECRET}@x/y",
        f"postgresql://me:p/{SECRET}@x/y",
        f"postgresql://me:p?{SECRET}@x/y",
        f"postgresql://x/y?{SECRET}=1",
        f"postgresql://x/y?%zz{SECRET}",
    ],
)
def test_a_url_that_is_none_is_refused_without_its_words(state: Path, target: Target, wrong: str) -> None:
    for opened in (lambda: Ledger.open(state, target, url=wrong), lambda: Ledger.read(state, url=wrong)):
        with pytest.raises(SettingsError) as caught:
            opened()
        assert caught.value.status == 78
        assert "postgresql://user@host" in caught.value.hint
        assert SECRET not in f"{caught.value}{caught.value.hint}"


def test_a_password_is_in_nothing_that_is_shown(server: Server, state: Path, url: str, target: Target) -> None:
    with_password = url.replace("backfill@", f"backfill:{SECRET}@")
    with Ledger.open(state, target, url=with_password) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        shown = repr(parse(with_password, writes=True)) + parse(with_password, writes=True).shown
        with pytest.raises(LockedError) as locked:
            Ledger.open(state, target, url=with_password)
        told = subprocess.run(["ps", "-ef", "ww"], capture_output=True, text=True, check=False).stdout
        activity = ""
        with psycopg.connect(url) as other:
            activity = str(other.execute("SELECT * FROM pg_stat_activity").fetchall())
            activity += str(other.execute("SELECT * FROM backfill.holders").fetchall())
        ledger.end_run(run, 0, {})
    with pytest.raises(BackfillError) as nowhere:
        Ledger.open(state, target, url=f"postgresql://me:{SECRET}@127.0.0.1:1/x?connect_timeout=2")
    words = [shown, str(locked.value), locked.value.hint, told, activity, str(nowhere.value), nowhere.value.hint]
    assert SECRET not in "".join(words)
    assert "postgresql://127.0.0.1:1/x" in str(nowhere.value)
    assert has_password(with_password)
    assert has_password("postgresql://h/d?password=x")
    assert not has_password(url)


def test_without_psycopg_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pathlib import Path\n"
        "from backfill.ledger import Ledger, Target\n"
        "from backfill.errors import SettingsError\n"
        "try: Ledger.open(Path(sys.argv[1]), Target('https://api.example.com', 's'), url='postgresql://x/y')\n"
        "except SettingsError as error: print(error, '|', error.hint)\n"
        "Ledger.open(Path(sys.argv[1]), Target('https://api.example.com', 's')).close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "pip install 'backfill[postgres]'" in done.stdout


def test_both_kinds_give_the_same_answers(server: Server, tmp_path: Path, target: Target, accept: Accept) -> None:
    kinds = [Ledgers("sqlite", None), Ledgers("postgres", server)]
    told = []
    for kind in kinds:
        with kind.open(tmp_path / kind.kind, target) as ledger:
            run = ledger.begin_run(RunInfo("m"))
            ledger.record([accept(ids(0, 25_000), "A"), accept(ids(20_000, 10_000), "B")], run)
            ledger.record([accept(ids(20_000, 10_000), "C")], run)
            wanted = [key(one) for one in ids(0, 40_000)]
            told.append((ledger.look_up(wanted), ledger.totals().accepted, ledger.runs()[0].accepted))
        kind.forget()
    assert told[0] == told[1]
    assert told[0][1] == {"A": 25_000, "B": 5_000}
