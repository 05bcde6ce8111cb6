"""The report and the sandbox's page in a real browser, full of names and values that are scripts: nothing runs."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from tests.conftest import Require
from tests.end_to_end.support import STORE, Shop
from tests.faults.hostile import BIDI, HOSTILE, MARKUP, RAN, RUN, TERMINAL, hidden

Browse = Callable[[str], str]

pytestmark = pytest.mark.slow

# The scripts of the sandbox's page, which are files of its own.
OWN = 'script src="/_sandbox/web/'


@pytest.fixture(scope="session")
def browse(require: Require, tmp_path_factory: pytest.TempPathFactory) -> Browse:
    """`browse(url)`: the page's DOM after its scripts, as HTML."""
    require("chromium", "chromium is not installed")
    program = shutil.which("chromium") or ""

    def dumped(url: str) -> str:
        profile = tmp_path_factory.mktemp("profile")
        # The sandbox of its own needs rights that a container seldom has.
        options = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-sync"
        options += " --disable-background-networking --disable-component-update --disable-extensions --dump-dom"
        command = [program, *options.split(), "--virtual-time-budget=2000", f"--user-data-dir={profile}", url]
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", timeout=110, check=True, stdin=subprocess.DEVNULL
        )
        assert "</html>" in done.stdout, done.stderr
        return done.stdout

    return dumped


def page(folder: Path, name: str, text: str) -> str:
    """The URL of a file with this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


def without_policy(text: str) -> str:
    """The page without its Content-Security-Policy: what is escaped has to be inert by itself."""
    bare = re.sub(r"<meta http-equiv=.Content-Security-Policy[^>]*>", "", text)
    assert "Content-Security-Policy" not in bare
    return bare


@pytest.fixture
def evil(lone_shop: Shop) -> Shop:
    """A shop whose columns, values, event names, files and ids are all hostile; some of its rows can't be sent."""
    shop = lone_shop
    names = ["order_id", "at", "email", *[name.replace("{", "(") for name in HOSTILE]]
    rows = [names]
    rows += [[f"{i}{text}", "2024-01-02", f"c{i}@example.com", *HOSTILE] for i, text in enumerate(MARKUP)]
    rows += [[f"late{i}", text + TERMINAL, "a@example.com", *HOSTILE] for i, text in enumerate([*HOSTILE, "never"])]
    rows += [["ragged", text] for text in HOSTILE]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([[cell.replace("\r", "") for cell in row] for row in rows])
    for name in (f"<img src=x onerror={RUN}>.csv", f"{BIDI}.csv"):
        shop.write(name, out.getvalue())
    events = [
        {
            "eventName": text.replace("{", "{{").replace("}", "}}"),
            "uniqueId": f"{number}:{{order_id}}",
            "eventTimestamp": "{at}",
            "customer": {"email": "{email}", "firstName": {"column": names[3]}},
            "data": {f"{text}": {"column": names[3 + number]} for text in HOSTILE if not text.startswith("__")}
            | {"__proto__": "x", "$extra": {"__proto__": {"column": names[4]}}},
        }
        for number, text in enumerate([*MARKUP[:6], BIDI, "x" * 240])
    ]
    mapping = {
        "source": {"files": ["*.csv"], "timezone": "UTC"},
        "events": events,
        "delivery": {"store": STORE, "flows": "acknowledged", "endpoint": "bulk"},
    }
    (shop.folder / "orders.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    (shop.folder / "orders.yaml").rename(shop.folder / f"<svg onload={RUN}>.yaml")
    return shop


def mapping(shop: Shop) -> str:
    return next(path.name for path in shop.folder.glob("*.yaml"))


def told(shop: Shop, *words: str) -> str:
    """What a command says, which may hold nothing that acts on a terminal."""
    done = shop.do(*words, status=None)
    assert hidden(done.out) == []
    assert hidden(done.err) == []
    return done.said


@pytest.fixture
def refusing() -> Iterator[str]:
    """A server that refuses everybody, in hostile words."""
    words = json.dumps({"title": "".join(MARKUP[:3]) + BIDI + TERMINAL, "detail": "".join([*HOSTILE, TERMINAL])})

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(403, f"<script>{RUN}</script>")
            self.send_header("Content-Type", "application/problem+json")
            self.end_headers()
            self.wfile.write(words.encode())

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def ran(dom: str) -> bool:
    """Whether a hostile script did what it is there for."""
    return bool(re.search(rf"<html[^>]*{RAN}", dom))


def without_own(report: str, dom: str) -> str:
    """The report's DOM without what we put there ourselves: its scripts as they are in the file, its charts, its search."""
    for script in re.findall(r"<script.*?</script>", report, re.DOTALL):
        assert script in dom
        dom = dom.replace(script, "")
    dom, charts = re.subn(r'<svg class="plot-.*?</svg>', lambda drawn: "".join(_texts(drawn[0])), dom, flags=re.DOTALL)
    assert charts >= 2
    # Of keys and patterns.
    dom = re.sub(
        r'<svg (viewBox="0 0 14 14"|width="0" height="0") aria-hidden="true".*?</svg>', "", dom, flags=re.DOTALL
    )
    return dom.replace('<input type="search" id="search" autocomplete="off" spellcheck="false">', "")


def _texts(drawn: str) -> list[str]:
    """What a chart says: all else in it is Plot's own shapes, which are checked to be nothing but that."""
    assert set(re.findall(r"<([a-z]+)", drawn)) <= {
        "svg",
        "style",
        "g",
        "path",
        "rect",
        "line",
        "text",
        "tspan",
        "title",
    }
    return re.findall(r"<(?:text|title)[^>]*>[^<]*", drawn)


def assert_inert(dom: str, texts: list[str], own: str = "") -> None:
    """Nothing but text came of them; `own` is a pattern of the elements that the page has by itself."""
    assert not ran(dom)
    if own:
        dom = re.sub(rf"<({own})", "<own", dom)
    assert not re.search(r"<(script|img|svg|iframe|a|base|object|embed|form|input)\b", dom)
    assert not re.search(r"<[^>]*\son\w+=", dom)
    assert hidden(html.unescape(dom), "\n\t") == []
    shown = html.unescape(dom)
    for text in texts:
        assert text in shown


@pytest.mark.parametrize("text", [MARKUP[0], MARKUP[5], MARKUP[6]])
def test_a_page_that_runs_them_is_noticed(browse, tmp_path, text):
    """Else the tests below could pass because a browser does nothing, or because nobody looks."""
    assert ran(browse(page(tmp_path, "page.html", f"<!doctype html><html><body><p>{text}</p></body></html>")))


def test_the_report(evil, start, browse, refusing, tmp_path):
    """After a run with rejected rows, and after one that the API refused in hostile words."""
    box = start()
    for address, status in ((refusing, 77), (box.base_url, 3)):
        evil.env["REDO_BASE_URL"] = address
        run = evil.deliver(mapping=mapping(evil), status=status)
        assert hidden(run.done.out) == hidden(run.done.err) == []
        report = (run.folder / "report.html").read_text(encoding="utf-8")
        dom = browse(page(tmp_path, "report.html", without_policy(report)))
        assert_inert(
            without_own(report, dom), [f"<svg onload={RUN}>", f"<img src=x onerror={RUN}>.csv", "\\u202e", MARKUP[0]]
        )
        assert "default-src 'none'" in report
    dom = browse(page(tmp_path, "sandbox.html", evil_page(box.page_url)))
    assert_inert(dom, [MARKUP[0], MARKUP[5], "\\u{202e}", "__proto__"], own=OWN)
    # With scripts in it after all, the report's policy would still keep them from running.
    broken = report.replace("</h1>", "</h1>" + "".join(MARKUP))
    assert not ran(browse(page(tmp_path, "broken.html", broken)))


def evil_page(url: str) -> str:
    import httpx

    answer = httpx.get(url, trust_env=False)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    return answer.text


def test_the_sandbox_answers_a_browser(evil, start, browse):
    """The page as a browser gets it, from the sandbox itself."""
    box = start()
    evil.env["REDO_BASE_URL"] = box.base_url
    evil.do("run", mapping(evil), "--limit", "60", status=3)
    assert_inert(browse(box.page_url), [MARKUP[0]], own=rf'{OWN}|a href="#|svg class="plot"')


def test_the_terminal(evil, start):
    """Everything that a command says of hostile names, values and answers is text."""
    evil.env["REDO_BASE_URL"] = start().base_url
    name = mapping(evil)
    for words in (
        ("check", name),
        ("check", name, "--json"),
        ("preview", name, "-n", "2"),
        ("preview", name, "-n", "1", "--curl"),
        ("--debug", "run", name, "--limit", "3", "--json"),
        ("status", name),
        ("report", name),
        ("check", name, "--files", f"{BIDI}{TERMINAL}.csv".replace("\r", "")),
    ):
        assert told(evil, *words)
    evil.write(
        "bad.yaml",
        "source: {files: " + json.dumps(TERMINAL + BIDI) + ", where: " + json.dumps(f"EXPLAIN {TERMINAL}") + "}",
    )
    assert "bad.yaml:1:" in told(evil, "check", "bad.yaml")
