"""The sandbox in a loop, in a thread and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import aiohttp
import anyio
import httpx
import pytest
from blockbuster import blockbuster_ctx

from backfill.sandbox import Faults, ListenError, Options, Sandbox, SandboxThread, serve

SINGLE = "/stores/s1/events"
LOOKS = ("_sandbox/look/overview", "_sandbox/look/customers/1", "_sandbox/look/refused", "_sandbox/web/charts.js")
SECRET = {"Authorization": "Bearer a-secret"}


def test_in_a_loop_without_blocking_it(event, tmp_path):
    async def main() -> None:
        options = Options(database=tmp_path / "events.db", bulk_body=True)
        async with Sandbox(options) as sandbox, aiohttp.ClientSession(headers=SECRET) as session:
            with blockbuster_ctx("backfill"):
                bulk = {"events": [event(uniqueId=str(i)) for i in range(10)]}
                posts = [session.post(sandbox.base_url + SINGLE + "/bulk", json=bulk) for _ in range(20)]
                for answer in await asyncio.gather(*posts):
                    assert answer.status == 202
                    assert (await answer.json())["accepted"] == 10
                for path in (*("", "_sandbox/events", "_sandbox/summary"), *LOOKS):
                    async with session.get(sandbox.page_url + path) as answer:
                        assert answer.status == 200
                async with session.post(sandbox.page_url + "_sandbox/reset") as answer:
                    assert answer.status == 204
            assert sandbox.ids() == set()

    anyio.run(main)


def test_serve_ends_when_cancelled():
    async def main() -> None:
        started = asyncio.Event()
        urls: list[str] = []

        def note(url: str) -> None:
            urls.append(url)
            started.set()

        task = asyncio.create_task(serve(Options(), started=note))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert urls[0].endswith("/v2.2")
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", int(urls[0].split(":")[2].split("/")[0]))

    asyncio.run(main())


def test_a_port_in_use(start):
    port = int(start().page_url.split(":")[2].rstrip("/"))
    with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}: .*another port") as raised:
        start(port=port)
    assert isinstance(raised.value, OSError)
    assert raised.value.errno


def test_another_address(connect, event):
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        with SandboxThread(Options(host="::1")) as sandbox:
            assert sandbox.base_url.startswith("http://[::1]:")
            assert connect(sandbox).post(SINGLE, json=event()).status_code == 202
            assert connect(sandbox).get(sandbox.page_url).status_code == 200
    except ListenError:
        pytest.skip("no IPv6 here")


def test_a_hanging_request_does_not_delay_the_end(connect, event):
    impatient = httpx.Timeout(20, read=0.1)
    with (
        SandboxThread(Options(faults=Faults(hang=1, hang_seconds=3600))) as sandbox,
        pytest.raises(httpx.ReadTimeout),
    ):
        connect(sandbox, timeout=impatient).post(SINGLE, json=event())


def test_import_is_free_of_the_server():
    code = (
        "import sys, backfill; print([m for m in ('aiohttp', 'jsonschema_rs', 'backfill.sandbox') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def run() -> Iterator:
    """`run("--rate", "5")`: the process, and its base URL."""
    running: list[subprocess.Popen] = []

    def begin(*arguments: str) -> tuple[subprocess.Popen, str]:
        command = [sys.executable, "-W", "error", "-m", "backfill.sandbox", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process, process.stdout.readline().strip()

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_ends_cleanly(run, event, number):
    process, url = run("--faults", "503=0%")
    assert httpx.post(url + SINGLE, json=event(), headers=SECRET).status_code == 202
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_kill_9_loses_nothing_that_was_answered(run, event, tmp_path):
    database = str(tmp_path / "events.db")
    process, url = run("--database", database, "--rate", "0", "--bulk-body")
    with httpx.Client(headers=SECRET) as client:
        for i in range(20):
            bulk = {"events": [event(uniqueId=f"{i}-{j}") for j in range(50)]}
            assert client.post(url + SINGLE + "/bulk", json=bulk).json()["accepted"] == 50
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, url = run("--database", database)
    assert httpx.get(url.removesuffix("v2.2") + "_sandbox/summary").json()["stored"] == 1000


def test_process_says_what_is_wrong(run, start, tmp_path):
    port = start().page_url.split(":")[2].rstrip("/")
    (tmp_path / "text").write_text("no database\n" * 1000)
    for arguments, message, status in [
        (["--faults", "rest=1%"], 'no fault "rest"; did you mean "reset"?', 2),
        (["--port", port], f"cannot listen on 127.0.0.1:{port}", 1),
        (["--database", str(tmp_path / "text")], "file is not a database", 1),
    ]:
        process, url = run(*arguments)
        assert url == ""
        _, err = process.communicate(timeout=20)
        assert message in " ".join(err.split())
        assert "Traceback" not in err
        assert process.returncode == status


def test_process_obeys_its_options(run, event):
    _, url = run("--rate", "1", "--store", "s1", "--faults", "latency=1", "--bulk-400-partial")
    bulk = {"events": [event(uniqueId="a"), {}]}
    assert httpx.post(url + SINGLE + "/bulk", content=json.dumps(bulk), headers=SECRET).status_code == 415
    assert httpx.post(url + "/stores/s2/events", json=event(), headers=SECRET).status_code == 404
    statuses = [httpx.post(url + SINGLE + "/bulk", json=bulk, headers=SECRET).status_code for _ in range(9)]
    assert 429 in statuses
