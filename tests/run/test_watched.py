"""--metrics-file and --ping: who watches from outside, and that a run does not hang on them."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backfill.errors import InterruptedRun, LockedError, SettingsError, StoppedError
from backfill.metrics import Ended, last_success, metrics_text, write_metrics
from backfill.ping import ping, ping_host, ping_url
from backfill.run import Result
from backfill.settings import Flags
from backfill.signals import kept
from backfill.watched import Watched
from tests.run.support import summary

parser = pytest.importorskip("prometheus_client.parser")


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = list(parser.text_string_to_metric_families(text))
    assert {family.type for family in families} == {"gauge"}
    assert all(family.documentation for family in families)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def at(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"backfill_{name}", frozenset({"mapping": "orders.yaml", "store": "s", **labels}.items())


def test_what_the_collector_reads():
    found = samples(metrics_text(Ended("orders.yaml", "s", 0, 1000.5, 2.25, summary(events={"accepted": 7})), None))
    assert found[at("last_run_timestamp_seconds")] == found[at("last_success_timestamp_seconds")] == 1000.5
    assert (found[at("exit_status")], found[at("duration_seconds")]) == (0, 2.25)
    assert found[at("events", outcome="accepted")] == 7
    assert found[at("rows", outcome="mapped")] == 1
    assert (found[at("requests")], found[at("retries")], found[at("rate_limited")]) == (1, 0, 0)
    assert len([name for name, _ in found if name == "backfill_events"]) == 7
    assert found[at("kept_back_events")] == 0


def test_what_waits_on_purpose_can_be_subtracted():
    waiting = summary(events={"total": 5, "accepted": 0, "pending": 5}, kept_back=3)
    text = metrics_text(Ended("orders.yaml", "s", 0, 1.0, 0.0, waiting), None)
    found = samples(text)
    assert found[at("events", outcome="pending")] - found[at("kept_back_events")] == 2
    assert (
        "# HELP backfill_events Events of the last run by what became of them; pending has backfill_kept_back" in text
    )


def test_names_of_files_are_escaped():
    odd = 'a "b"\\c\n\udcffd.yaml'
    found = samples(metrics_text(Ended(odd, "s", 3, 1.0, 0.0), 0.5))
    assert {dict(labels)["mapping"] for _, labels in found} == {odd.replace("\udcff", "\\udcff")}
    text = metrics_text(Ended(odd, "s", 0, 1.0, 0.0), None)
    assert last_success(text, odd) == ("s", 1.0)
    assert last_success(text, "a") is None


def test_the_last_success_is_kept(tmp_path):
    file = tmp_path / "backfill.prom"
    success = at("last_success_timestamp_seconds")
    write_metrics(file, Ended("orders.yaml", "s", 75, 900.0, 1.0))
    assert success not in samples(file.read_text())
    write_metrics(file, Ended("orders.yaml", "s", 0, 1000.0, 1.0, summary()))
    write_metrics(file, Ended("orders.yaml", "s", 75, 2000.0, 1.0, summary()))
    # It failed before it knew its store.
    write_metrics(file, Ended("orders.yaml", "", 78, 3000.0, 1.0))
    found = samples(file.read_text())
    assert (found[success], found[at("last_run_timestamp_seconds")], found[at("exit_status")]) == (1000, 3000, 78)
    assert file.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["backfill.prom"]
    # What another store took says nothing of this one.
    write_metrics(file, Ended("orders.yaml", "t", 75, 4000.0, 1.0))
    assert "last_success" not in file.read_text()
    file.write_bytes(b"\xff not ours")
    write_metrics(file, Ended("orders.yaml", "s", 3, 5000.0, 1.0))
    assert samples(file.read_text())[at("exit_status")] == 3


class Switch:
    """What was called; `answers` are the statuses of the next answers, then 200."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[str] = []
        self.answers: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.calls.append(self.path)
                outer.headers.append(dict(self.headers))
                self.send_response(outer.answers.pop(0) if outer.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.do_GET()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/key"


@pytest.fixture
def switch() -> Iterator[Switch]:
    made = Switch()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def result(status: int, error: Any = None) -> Result:
    return Result(status, summary(exit=status), [], Path(), error)


def around(ended: Result | BaseException, notes: list[str], **options: Any) -> None:
    flags = options.pop("flags", Flags(store="s"))
    said = {"metrics_file": None, "url": None, **options}
    with Watched(Path("orders.yaml"), flags, notes.append, **said) as watched:
        watched.begun()
        if isinstance(ended, BaseException):
            raise ended
        watched.result = ended


@pytest.mark.parametrize(
    "ended, call, status",
    [
        (result(0), "", 0),
        (result(3), "/3", 3),
        (result(75, StoppedError("stopped")), "/75", 75),
        (SettingsError("there is no secret"), "/78", 78),
        (InterruptedRun("interrupted", signal=15), "/143", 143),
        (KeyboardInterrupt(), "/130", 130),
        (ZeroDivisionError("a customer's name"), "/70", 70),
    ],
)
def test_what_is_told_at_the_end(switch, tmp_path, ended, call, status):
    notes: list[str] = []
    file = tmp_path / "m.prom"
    raised = pytest.raises(type(ended)) if isinstance(ended, BaseException) else nullcontext()
    with raised:
        around(ended, notes, url=f"{switch.url}?a=b", metrics_file=file)
    assert switch.calls == ["/key/start?a=b", f"/key{call}?a=b"]
    assert not notes
    assert samples(file.read_text())[at("exit_status")] == status
    # Nothing but the address.
    assert all("Content-Length" not in one and one["User-Agent"].startswith("backfill/") for one in switch.headers)


def test_a_success_that_is_suspicious_is_told_with_a_warning(switch):
    notes: list[str] = []
    empty = Result(0, summary(warnings=["the export holds no rows"]), [], Path())
    around(empty, notes, url=switch.url)
    assert (switch.calls, switch.bodies) == (["/key/start", "/key"], ["the export holds no rows"])
    # A service that takes no body is called without.
    switch.answers = [200, 405]
    around(empty, notes, url=switch.url)
    assert switch.calls[2:] == ["/key/start", "/key", "/key"]
    assert not notes


def test_a_rehearsal_tells_nobody(switch, tmp_path):
    notes: list[str] = []
    around(result(0), notes, url=switch.url, metrics_file=tmp_path / "m.prom", flags=Flags(sandbox=True))
    assert not switch.calls
    assert not list(tmp_path.iterdir())
    assert notes == ["a rehearsal is not told to --ping and --metrics-file"]


def test_that_nobody_is_there_is_a_note(switch, tmp_path):
    switch.answers = [500, 200, 404, 503]
    notes: list[str] = []
    around(result(0), notes, url=switch.url, metrics_file=tmp_path / "gone" / "m.prom")
    assert switch.calls == ["/key/start"] * 2 + ["/key"] * 2
    written, called = notes
    assert "can't be written: No such file or directory" in written
    assert called == "--ping: 127.0.0.1 did not take the ping: the answer was 503"
    # Who ended the run waits for its end: once has to do.
    switch.answers = [200, 500, 500]
    with pytest.raises(InterruptedRun):
        around(InterruptedRun("interrupted", signal=15), notes, url=switch.url)
    assert switch.calls[4:] == ["/key/start", "/key/143"]


def test_silence_and_broken_lines():
    said = ping("http://127.0.0.1:9/5f1e7c0d")
    assert said == "127.0.0.1 did not take the ping: ConnectError"


@pytest.mark.parametrize("url", ["ftp://example.com/x", "example.com/x", "http://", "http://[::1", "https://a b/", "http://a\n.b/", "file:///etc/passwd", "http://a:b:c/"])  # fmt: skip
def test_what_is_no_address(url, tmp_path):
    file = tmp_path / "m.prom"
    with pytest.raises(SettingsError) as wrong:
        around(result(0), [], url=url, metrics_file=file)
    assert url not in str(wrong.value)
    assert samples(file.read_text())[at("exit_status")] == 78


def test_the_address_may_be_in_a_file(switch, tmp_path, monkeypatch):
    file = tmp_path / "ping.txt"
    monkeypatch.setenv("BACKFILL_PING_FILE", str(file))
    with pytest.raises(SettingsError, match=r"BACKFILL_PING_FILE: can't read .*: No such file") as wrong:
        around(result(0), [])
    assert wrong.value.hint
    file.write_text(f"{switch.url}\n")
    around(result(0), [])
    assert switch.calls == ["/key/start", "/key"]
    assert ping_host("https://me:pw@hc-ping.com:8443/5f1e?x=y") == "https://hc-ping.com:8443/"


def test_where_the_end_goes():
    assert ping_url("https://hc-ping.com/uuid", "start") == "https://hc-ping.com/uuid/start"
    assert ping_url("https://up.example.com/push/x/?status=up", "75") == "https://up.example.com/push/x/75?status=up"
    assert ping_url("https://up.example.com/push/x/?status=up") == "https://up.example.com/push/x/?status=up"


def test_the_command_passes_it_on(switch, tmp_path, monkeypatch):
    from backfill.cli import backfill

    monkeypatch.setenv("BACKFILL_PING", switch.url)
    file = tmp_path / "m.prom"
    with pytest.raises(SettingsError):
        backfill.main(
            ["run", str(tmp_path / "orders.yaml"), "--store", "s", "--metrics-file", str(file)], standalone_mode=False
        )
    # It never began.
    assert switch.calls == ["/key/78"]
    assert samples(file.read_text())[at("exit_status")] == 78


def test_a_run_that_is_turned_away_says_nothing_of_the_one_that_goes_on(switch, tmp_path):
    file, notes = tmp_path / "m.prom", []
    around(result(0), notes, url=switch.url, metrics_file=file)
    before, switch.calls[:] = file.read_text(), []
    said = {"metrics_file": file, "url": switch.url}
    with pytest.raises(LockedError), Watched(Path("orders.yaml"), Flags(store="s"), notes.append, **said):
        raise LockedError("another run holds the ledger")
    assert (switch.calls, notes, file.read_text()) == ([], [], before)


def test_a_canary_is_no_success_of_the_whole_export(tmp_path):
    file, success = tmp_path / "m.prom", at("last_success_timestamp_seconds")
    left = summary(events={"total": 5, "accepted": 1, "pending": 4}, limit=1)
    write_metrics(file, Ended("orders.yaml", "s", 0, 900.0, 1.0, left))
    assert success not in samples(file.read_text())
    write_metrics(file, Ended("orders.yaml", "s", 0, 1000.0, 1.0, summary(limit=1)))
    write_metrics(file, Ended("orders.yaml", "s", 0, 2000.0, 1.0, left))
    assert samples(file.read_text())[success] == 1000
    # What is kept back waits on purpose.
    write_metrics(file, Ended("orders.yaml", "s", 0, 3000.0, 1.0, left | {"kept_back": 4}))
    assert samples(file.read_text())[success] == 3000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ended", [result(0), result(75, StoppedError("stopped"))])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_signal_in_the_last_ping_gives_up_the_ping_alone(tmp_path, monkeypatch, capsys, number, ended, as_json):
    from backfill.cli import backfill, guarded

    file = tmp_path / "m.prom"
    before: list[str] = []

    def call(url: str, **_options: Any) -> None:
        if not url.endswith("/start"):
            assert samples(file.read_text())[at("exit_status")] == ended.status
            before.append(capsys.readouterr().out)
            signal.raise_signal(number)

    monkeypatch.setattr("backfill.run.run", lambda *_, **__: ended)
    monkeypatch.setattr("backfill.watched.ping", call)
    said = ["run", "orders.yaml", "--store", "s", "--ping", "https://ping.example.com", "--metrics-file", str(file)]
    with kept():
        status = guarded(lambda: backfill.main([*said, *["--json"] * as_json], standalone_mode=False), debug=False)
    assert status == ended.status
    after = capsys.readouterr()
    assert after.err == "note: --ping: given up at a signal\n"
    # The result was printed before, and the summary is last.
    assert not after.out
    (printed,) = before
    if as_json:
        kinds = [json.loads(line)["type"] for line in printed.splitlines()]
        assert kinds == (["error", "summary"] if ended.error else ["summary"])
    else:
        assert "events: 1 total" in printed


def test_a_signal_while_the_metrics_are_written(switch, tmp_path, monkeypatch):
    def write(path: Path, ended: Ended) -> None:
        signal.raise_signal(signal.SIGINT)
        write_metrics(path, ended)

    monkeypatch.setattr("backfill.watched.write_metrics", write)
    file, notes = tmp_path / "m.prom", []
    around(result(0), notes, metrics_file=file)
    assert (samples(file.read_text())[at("exit_status")], notes) == (0, [])
    around(result(0), notes, metrics_file=file, url=switch.url)
    assert (switch.calls, notes) == (["/key/start"], ["--ping: given up at a signal"])
