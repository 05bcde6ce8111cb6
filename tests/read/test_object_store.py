"""Exports in an object store: found, read a part at a time, watched for changes; and what is told when it fails."""

from __future__ import annotations

import gzip
import io
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from backfill import objectstore
from backfill.errors import ExportError, SettingsError
from backfill.read import Export
from tests.buckets import SLOW_DOWN, Bucket, bucket
from tests.read.support import content, opened

ROWS = 60_000


@pytest.fixture(scope="module")
def server(require: Callable[[object, str], None]) -> Iterator[Bucket]:
    with bucket(require) as box:
        yield box


@pytest.fixture
def s3(server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for key in server.listed():
        server.filesystem.delete_file(f"{server.name}/{key}")
    server.forget()
    yield server
    server.answer = lambda _method, _path: None


def parquet(frame: pl.DataFrame, **options: object) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out, **options)  # type: ignore[arg-type]
    return out.getvalue()


def large(rows: int = ROWS) -> pl.DataFrame:
    """A narrow column, and others that are large however they are packed."""
    noise = [f"{i * 2654435761 % 2**64:020d}{i * 40503 % 2**61:020d}" for i in range(rows)]
    return pl.DataFrame({"id": range(rows), "a": noise, "b": noise[::-1], "c": noise})


def all_of(export: Export) -> list[tuple[object, ...]]:
    return content(export).rows


def test_every_format(s3: Bucket, tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["1", "2"]})
    ipc, stream = io.BytesIO(), io.BytesIO()
    frame.write_ipc(ipc)
    frame.write_ipc_stream(stream)
    s3.put("a.csv", b"id\n1\n2\n")
    s3.put("b.csv.gz", gzip.compress(b"id\n1\n2\n"))
    s3.put("c.ndjson", b'{"id": "1"}\n{"id": "2"}\n')
    s3.put("d.parquet", parquet(frame))
    s3.put("e.arrow", ipc.getvalue())
    s3.put("f.arrows", stream.getvalue())
    s3.put("g.csv.zst", bytes(pa.compress(b"id\n1\n2\n", "zstd", asbytes=True)))
    found = opened(tmp_path, f"{s3.url}/")
    assert [list(one.schema) for one in found.files] == [["id"]] * 7
    assert all_of(found) == [("1",), ("2",)] * 7


def test_globs_folders_and_hive(s3: Bucket, tmp_path: Path) -> None:
    for key in ("in/year=2024/a.csv", "in/year=2025/b.csv", "in/_SUCCESS.csv", "in/_log/x.csv", "top one.csv"):
        s3.put(key, b"id\n1\n")

    def found(*entries: str) -> list[str]:
        return [one.file.name.removeprefix(f"{s3.url}/") for one in opened(tmp_path, *entries).files]

    both = ["in/year=2024/a.csv", "in/year=2025/b.csv"]
    assert found(f"{s3.url}/in/") == found(f"{s3.url}/in") == found(f"{s3.url}/in/year=*/*.csv") == both
    assert found(f"{s3.url}/in/**/a.csv") == both[:1]
    assert found(f"{s3.url}/*.csv") == found(f"{s3.url}/top one.csv") == ["top one.csv"]
    assert found(s3.url) == [*both, "top one.csv"]
    assert content(opened(tmp_path, f"{s3.url}/in/")).rows == [("1", "2024"), ("1", "2025")]
    with pytest.raises(ExportError, match="no file matches"):
        opened(tmp_path, f"{s3.url}/in/*.ndjson")


def test_only_the_columns_that_are_wanted_are_fetched(s3: Bucket, tmp_path: Path) -> None:
    frame = large()
    data = parquet(frame, row_group_size=20_000)
    s3.put("a.parquet", data)
    export = replace(opened(tmp_path, f"{s3.url}/a.parquet"), wanted=frozenset({"id"}))
    s3.forget()
    chunks = list(export.chunks())
    assert pl.concat(chunk.frame["id"] for chunk in chunks).to_list() == list(range(ROWS))
    assert s3.sent < len(data) / 8
    gets = [path for method, path in s3.asked if method == "GET"]
    # Three row groups: a request for what is wanted of each, and some for the footer.
    assert len(gets) < 20
    # A row that is rejected is wanted whole: its row group's other columns are fetched, and no other's.
    s3.forget()
    at = [(0, 20_001), (0, 25_000), (0, 39_999)]
    rows = pl.concat(export.with_all_columns(chunk.frame, at) for chunk in chunks)
    assert (
        rows.drop(pl.selectors.starts_with("__")).select(frame.columns).rows() == frame[[20_000, 24_999, 39_998]].rows()
    )
    assert s3.sent < len(data) / 2


def test_all_is_fetched_with_few_requests_and_little_in_memory(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = large()
    data = parquet(frame, row_group_size=10_000)
    s3.put("a.parquet", data)
    export = opened(tmp_path, f"{s3.url}/a.parquet")
    s3.forget()
    before = pa.total_allocated_bytes()
    most = 0
    rows = 0
    for chunk in export.chunks():
        rows += chunk.frame.height
        most = max(most, pa.total_allocated_bytes() - before)
        # What is fetched is what was asked for and a row group ahead at most, not the file.
        assert s3.sent < len(data) * (rows + 20_000) / ROWS + 500_000
    assert rows == ROWS
    assert most < len(data)
    assert s3.sent < len(data) * 1.3


@pytest.mark.parametrize("whole", [True, False])
def test_a_row_group_too_large_to_hold(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr("backfill.read.fetched.FETCHED_BYTES", 1000)
    s3.put("a.parquet", parquet(large(30_000)))
    assert len(all_of(opened(tmp_path, f"{s3.url}/a.parquet"))) == 30_000


def test_what_is_not_wanted_again_is_not_fetched_again(s3: Bucket, tmp_path: Path) -> None:
    data = parquet(large(), row_group_size=10_000)
    s3.put("a.parquet", data)
    s3.put("b.csv", b"id\n" + b"".join(b"%d\n" % i for i in range(50_000)))
    export = opened(tmp_path, f"{s3.url}/*.parquet", f"{s3.url}/*.csv")
    first = list(export.chunks())
    s3.forget()
    again = list(export.chunks(skip=set(range(len(first))) - {3}))
    assert [chunk.frame.rows() for chunk in again] == [first[3].frame.rows()]
    assert s3.sent < len(data) / 2
    assert s3.lists() == 0


def test_a_file_that_changes_is_noticed(s3: Bucket, tmp_path: Path) -> None:
    for key, one, other in (("a.csv", b"id\n1\n", b"id\n2\n"), ("b.csv", b"id\n1\n", b"id\n1\n3\n")):
        s3.put(key, one)
        export = opened(tmp_path, f"{s3.url}/{key}")
        assert all_of(export) == [("1",)]
        s3.put(key, other)
        with pytest.raises(ExportError, match="changed while it was read"):
            all_of(export)


def test_a_store_that_is_busy_for_a_moment_is_asked_again(s3: Bucket, tmp_path: Path) -> None:
    s3.put("a.csv", b"id\n1\n")
    failures = iter([("503 Slow Down", SLOW_DOWN), ("500 Internal Server Error", b"")])
    s3.answer = lambda method, _path: next(failures, None) if method == "GET" else None
    assert all_of(opened(tmp_path, f"{s3.url}/a.csv")) == [("1",)]
    assert next(failures, None) is None


@pytest.mark.parametrize("what", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_credentials_that_are_wrong(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    s3.put("a.csv", b"id\n1\n")
    assert all_of(opened(tmp_path, f"{s3.url}/*.csv")) == [("1",)]
    monkeypatch.setenv(what, "AKIAINVENTED00000000")
    with pytest.raises(ExportError, match="can't be listed: the credentials are not known there") as caught:
        opened(tmp_path, f"{s3.url}/*.csv")
    assert "AWS_PROFILE" in caught.value.hint
    assert "INVENTED" not in caught.value.message
    # Of one file a store tells no more than that.
    with pytest.raises(ExportError, match="can't be opened: access was denied"):
        opened(tmp_path, f"{s3.url}/a.csv")


SECRETS = ("AKIAINVENTED00000000", "invented/secret+of+nobody")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>"), "access was denied"),
        (("403 Forbidden", (b"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIAINVENTED00000000"
          b"</AWSAccessKeyId></Error>")), "not known there|access was denied"),
        (("400 Bad Request", b"<Error><Code>ExpiredToken</Code></Error>"), "have expired"),
        (("301 Moved", b"<Error><Code>PermanentRedirect</Code></Error>"), "in another region"),
        (("503 Slow Down", SLOW_DOWN), "too busy, again and again"),
    ],
)  # fmt: skip
def test_what_a_refusal_means(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: tuple[str, bytes], said: str
) -> None:
    monkeypatch.setattr(objectstore, "ATTEMPTS", 2)
    monkeypatch.setenv("AWS_UNUSED", said)  # another store than the other tests'
    s3.put("a.csv", b"id\n1\n")
    s3.answer = lambda _method, _path: answer
    for entry in (f"{s3.url}/*.csv",):
        with pytest.raises(ExportError, match=rf"^{s3.url}/.*: can't be .*({said})") as caught:
            opened(tmp_path, entry)
        assert caught.value.hint
        assert not any(secret in caught.value.message + caught.value.hint for secret in SECRETS)


def test_what_is_not_there(s3: Bucket, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"a\.csv: can't be opened: there is no such file or bucket"):
        opened(tmp_path, f"{s3.url}/a.csv")
    with pytest.raises(ExportError, match="can't be listed: there is no such bucket"):
        opened(tmp_path, "s3://no-such-bucket/*.csv")


def test_a_store_that_is_out_of_reach_or_silent(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectstore, "ATTEMPTS", 2)
    monkeypatch.setattr(objectstore, "REQUEST_SECONDS", 1.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(ExportError, match="could not be reached"):
        opened(tmp_path, f"{s3.url}/a.csv")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(ExportError, match="did not answer in time"):
            opened(tmp_path, f"{s3.url}/a.csv")
        assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAINVENTED00000000:invented/secret+of+nobody@bucket/a.csv",
        "s3://AKIAINVENTED00000000@bucket/a.csv",
        "s3://bucket/a.csv?secret_key=invented/secret+of+nobody",
        "s3://bucket/a.csv?X-Amz-Credential=AKIAINVENTED00000000/x&X-Amz-Signature=invented",
        "gs://AKIAINVENTED00000000:invented@bucket/*.csv",
        "az://bucket:invented@account.dfs.core.windows.net/a.csv",
        "az://bucket/a.csv?sig=invented",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="secret") as caught:
        opened(tmp_path, url)
    told = caught.value.message + caught.value.hint
    assert "invented" not in told
    assert "AKIA" not in told


def test_where_urls_point() -> None:
    def told(url: str) -> tuple[str, str, str, str]:
        at = objectstore.place(url)
        return at.kind, at.account, at.path, at.url(at.path)

    for url, expected in {
        "s3://b/a b%20/é.csv": ("s3", "", "b/a b%20/é.csv"),
        "s3://b/a?.csv": ("s3", "", "b/a?.csv"),
        "gcs://b/x.csv": ("gs", "", "b/x.csv"),
        "az://c/x.csv": ("az", "", "c/x.csv"),
        "abfss://c@shop.dfs.core.windows.net/in/x.csv": ("az", "shop", "c/in/x.csv"),
        "abfs://shop.blob.core.windows.net/c/x.csv": ("az", "shop", "c/x.csv"),
        "s3://b/x.csv?region=eu-west-1": ("s3", "", "b/x.csv"),
    }.items():
        assert told(url) == (*expected, url)
    for url in ("s3://", "s3:///x.csv", "az://c@shop/x.csv"):
        with pytest.raises(SettingsError):
            objectstore.place(url)
