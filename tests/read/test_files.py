"""Which files an export has, in what order, and what is said of those that can't be read."""

from __future__ import annotations

import gc
import gzip
import io
import os
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
import zstandard

from backfill import mapping as mappings
from backfill.errors import ExportError
from backfill.plan import plan
from backfill.read import files as paths
from backfill.read.files import find_files
from tests.read.support import content, opened, read_text


def fill(base: Path, *names: str) -> None:
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(f"name\n{name}\n")


def names(base: Path, *entries: str) -> list[str]:
    return [file.name.replace("\\", "/") for file in find_files(list(entries), base, None)]


def test_a_glob_a_folder_and_a_list(tmp_path: Path) -> None:
    fill(tmp_path, "b.csv", "a.csv", "x/c.csv", "x/y/d.csv", "x/_tmp.csv", "x/.e.csv", "x/_f/g.csv", "x/readme.md")
    assert names(tmp_path, "*.csv") == ["a.csv", "b.csv"]
    assert names(tmp_path, "x") == ["x/c.csv", "x/y/d.csv"]
    assert names(tmp_path, "**/*.csv") == ["a.csv", "b.csv", "x/_f/g.csv", "x/_tmp.csv", "x/c.csv", "x/y/d.csv"]
    assert names(tmp_path, "x/c.csv", "b.csv", "*.csv") == ["x/c.csv", "b.csv", "a.csv"]
    assert names(tmp_path, str(tmp_path / "a.csv")) == ["a.csv"]


def test_files_are_read_in_their_order(tmp_path: Path) -> None:
    fill(tmp_path, "b.csv", "a.csv", "c.csv")
    found = content(opened(tmp_path, "*.csv"))
    assert found.rows == [("a.csv",), ("b.csv",), ("c.csv",)]
    assert found.files == [0, 1, 2]
    assert found.export.name(2) == "c.csv"


@pytest.mark.parametrize(
    ("entry", "said", "hint"),
    [
        ("oders.csv", "oders.csv: no such file", 'did you mean "orders.csv"?'),
        ("nowhere/x.csv", "nowhere/x.csv: no such file", "it is looked for in /"),
        ("*.parquet", "no file matches this pattern", "it is looked for in"),
        ("empty", "no file of a known kind", ".csv"),
        ("data.xyz", "suffix says nothing", "source.format"),
    ],
)
def test_what_is_not_there(tmp_path: Path, entry: str, said: str, hint: str) -> None:
    fill(tmp_path, "orders.csv", "data.xyz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError) as caught:
        opened(tmp_path, entry)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_where_a_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    fill(tmp_path / "shop", "orders.csv")
    (tmp_path / "shop" / "orders.yaml").write_text("source: {files: gone/away.csv}\n")
    monkeypatch.chdir(tmp_path)
    draft = replace(mappings.read(Path("shop/orders.yaml")), problems=[])
    for files, folder in (((), tmp_path / "shop" / "gone"), (("mended.csv",), tmp_path)):
        with pytest.raises(ExportError) as caught:
            plan(draft, datetime.now(UTC), files)
        assert caught.value.hint == f"it is looked for in {folder}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_export(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(ExportError, match="no regular file"):
        opened(tmp_path, "a.csv")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("root may read everything")
    fill(tmp_path, "a.csv")
    (tmp_path / "a.csv").chmod(0)
    with pytest.raises(ExportError, match=r"a\.csv: can't be opened: Permission denied"):
        opened(tmp_path, "a.csv")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n"])
def test_an_empty_file(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ExportError, match=r"a\.csv: is empty"):
        read_text(tmp_path, data)


def test_one_empty_file_of_many(tmp_path: Path) -> None:
    fill(tmp_path, "a.csv", "b.csv", "d.parquet")
    (tmp_path / "c.csv").write_bytes(b"")
    (tmp_path / "d.parquet").write_bytes(b"")
    export = opened(tmp_path)
    assert content(export).rows == [("a.csv",), ("b.csv",)]
    assert [note for note in export.notes if "is empty" in note] == [
        "c.csv: is empty; it was passed over",
        "d.parquet: is empty; it was passed over",
    ]


def test_only_empty_files(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ExportError, match="all 2 files are empty"):
        opened(tmp_path)


def test_a_header_and_no_row(tmp_path: Path) -> None:
    found = read_text(tmp_path, "id,email\n")
    assert (found.columns, found.rows, found.bad) == (["id", "email"], [], [])


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst"])
def test_compressed(tmp_path: Path, pack: object, name: str) -> None:
    data = b"a,b\n" + b"x,y\n" * 100_000
    assert callable(pack)
    assert len(read_text(tmp_path, pack(data), name).rows) == 100_000
    parts = read_text(tmp_path, pack(data[:10]) + pack(data[10:]), name)
    assert len(parts.rows) == 100_000


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "cut early", "flipped"])
@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_compressed_and_cut(tmp_path: Path, pack: object, damage: str, suffix: str) -> None:
    line = '{"a": %d}\n' if suffix == "ndjson" else "%d,x\n"
    data = b"a,b\n" * (suffix == "csv") + b"".join((line % (i * 7919 % 100_003)).encode() for i in range(200_000))
    assert callable(pack)
    packed = bytearray(pack(data))
    if damage == "flipped":
        packed[len(packed) // 2 : len(packed) // 2 + 50] = bytes(50)
    else:
        del packed[9 if damage == "cut early" else len(packed) - 20 :]
    with pytest.raises(ExportError, match=rf"a\.{suffix}\.gz: can't be read"):
        read_text(tmp_path, bytes(packed), f"a.{suffix}.gz")


def test_a_zip_archive(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", "a,b\n1,2\n")
    with pytest.raises(ExportError, match=r"a\.csv: is a ZIP archive") as caught:
        read_text(tmp_path, packed.getvalue())
    assert "unpack" in caught.value.hint


def test_folders_that_name_columns(tmp_path: Path) -> None:
    for year, month in (("2023", "a%20b"), ("2024", "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / "data" / f"year={year}" / f"month={month}"
        folder.mkdir(parents=True)
        (folder / "x.csv").write_text("id,year\n1,wrong\n")
        pl.DataFrame({"id": ["2"]}).write_parquet(folder / "y.parquet")
        (folder / "z.ndjson").write_text('{"id": "3"}\n')
    found = content(opened(tmp_path, "data"))
    assert found.columns == ["id", "year", "month"]
    assert found.rows == [("1", "2023", "a b"), ("2", "2023", "a b"), ("3", "2023", "a b"),
                          ("1", "2024", None), ("2", "2024", None), ("3", "2024", None)]  # fmt: skip
    assert content(opened(tmp_path, "data/year=2023/*/x.csv")).rows == [("1", "wrong", "a b")]


@pytest.mark.parametrize("entry", ["{}/a.csv", "{}", "{}/*.csv", "{}/**/*.csv", "{}/day=*/b.csv"])
@pytest.mark.parametrize("absolute", [True, False])
def test_an_export_that_moves_is_the_same(tmp_path: Path, entry: str, absolute: bool) -> None:
    """A column from a folder that the entry spells out would change the ids that are hashed over all columns."""
    found = []
    for name in ("run=1", "run=2"):
        (tmp_path / name / "day=3").mkdir(parents=True)
        (tmp_path / name / "a.csv").write_text("id\n1\n")
        (tmp_path / name / "day=3" / "b.csv").write_text("id\n2\n")
        export = opened(tmp_path, entry.format(tmp_path / name if absolute else name))
        found.append((export.schema, content(export).rows))
    assert found[0] == found[1]
    assert ("day" in found[0][0]) == (entry not in {"{}/a.csv", "{}/*.csv"})


def test_folders_above_the_mapping_name_no_columns(tmp_path: Path) -> None:
    base = tmp_path / "client=7" / "job"
    fill(base, "a.csv")
    fill(tmp_path / "client=7", "b=2/c.csv")
    assert opened(base, "a.csv").schema == {"name": pl.String()}
    assert list(opened(base, "../*/c.csv").schema) == ["name", "b"]


def test_other_columns_in_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,email\n1,x\n")
    (tmp_path / "b.csv").write_text("phone,id\n555,2\n")
    pl.DataFrame({"id": [3], "email": ["z"]}).write_parquet(tmp_path / "c.parquet")
    found = content(opened(tmp_path))
    assert found.columns == ["id", "email", "phone"]
    assert found.rows == [("1", "x", None), ("2", None, "555"), ("3", "z", None)]
    said = "\n".join(found.export.notes)
    assert 'b.csv: has no "email"' in said
    assert 'b.csv: has "phone"' in said
    assert 'c.parquet: "id" of another type' in said


@pytest.mark.parametrize("change", ["append", "cut", "replace", "delete"])
@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
def test_a_file_that_changes_before_it_is_read(tmp_path: Path, name: str, change: str) -> None:
    file = tmp_path / name
    frame = pl.DataFrame({"id": ["1", "2"], "x": ["a", "b"]})
    (frame.write_csv if name == "a.csv" else frame.write_parquet if name == "a.parquet" else frame.write_ndjson)(file)
    export = opened(tmp_path, name)
    data = file.read_bytes()
    if change == "replace":
        (tmp_path / "new").write_bytes(data)
        os.utime(tmp_path / "new", ns=(file.stat().st_mtime_ns,) * 2)
        (tmp_path / "new").replace(file)
    elif change == "delete":
        file.unlink()
    else:
        file.write_bytes(data[:-1] if change == "cut" else data + b"\n")
    with pytest.raises(ExportError, match=rf"{name}: (changed while it was read|can't be read)"):
        content(export)


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,x\n" + "1,a\n" * 1_000_000)
    chunks = opened(tmp_path, "a.csv").chunks()
    assert next(chunks).frame.height
    os.truncate(file, 3_000_000)
    with pytest.raises(ExportError, match=r"a\.csv: changed while it was read"):
        for _ in chunks:
            pass


def test_a_parquet_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pl.DataFrame({"id": range(1_000_000)}).write_parquet(file, row_group_size=50_000, compression="uncompressed")
    chunks = opened(tmp_path, "a.parquet").chunks()
    assert next(chunks).frame.height
    os.truncate(file, 100_000)
    with pytest.raises(ExportError, match=r"^a\.parquet: "):
        for _ in chunks:
            pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of `tmp_path`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_a_url(tmp_path: Path, server: str) -> None:
    frame = pl.DataFrame({"id": ["1", "2"]})
    frame.write_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"id\n3\n"))
    found = content(opened(tmp_path, f"{server}/a.parquet", f"{server}/b.csv.gz?x=1"))
    assert found.rows == [("1",), ("2",), ("3",)]


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.arrows", "a.parquet"])
def test_a_url_gives_the_same_rows_twice_and_leaves_nothing(
    tmp_path: Path, server: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was checked is what is sent, though the server has another file by then."""
    spools = tmp_path / "spools"
    spools.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spools))

    def write(value: str) -> None:
        frame = pl.DataFrame({"id": [value]})
        if name == "a.csv":
            frame.write_csv(tmp_path / name)
        elif name == "a.ndjson":
            frame.write_ndjson(tmp_path / name)
        elif name == "a.parquet":
            frame.write_parquet(tmp_path / name)
        else:
            frame.write_ipc_stream(tmp_path / name)

    write("1")
    export = opened(tmp_path, f"{server}/{name}")
    first = content(export).rows
    write("2")
    assert content(export).rows == first == [("1",)]
    assert len(list(spools.iterdir())) == 1
    del export
    gc.collect()
    assert list(spools.iterdir()) == []


def test_a_url_that_is_not_there(tmp_path: Path, server: str) -> None:
    with pytest.raises(ExportError, match=r"x\.csv: can't be opened: the server answered 404"):
        opened(tmp_path, f"{server}/x.csv")
    with pytest.raises(ExportError, match="can't be opened"):
        opened(tmp_path, "http://127.0.0.1:1/x.csv")


def test_a_text_that_is_no_parquet(tmp_path: Path) -> None:
    fill(tmp_path, "a.parquet", "a.arrow", "a.xlsx")
    for name in ("a.parquet", "a.arrow", "a.xlsx"):
        with pytest.raises(ExportError, match=rf"{name}: is not a file in (parquet|arrow|excel) format"):
            opened(tmp_path, name)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("exports/{store}/orders_[0-9].csv", {"nord": "nord/orders_1.csv", "sued": "sued/orders_1.csv"}),
        ("exports/{store}/orders_{store}.csv", {"west": "west/orders_west.csv"}),
        ("exports/flat/orders-{store}-[0-9].csv", {"a": "flat/orders-a-1.csv", "b": "flat/orders-b-2.csv"}),
        ("exports/**/orders-{store}-1.csv", {"a": "flat/orders-a-1.csv"}),
    ],
)
def test_the_store_in_a_path(tmp_path, entry, found):
    for name in (
        "nord/orders_1.csv", "sued/orders_1.csv", "west/orders_west.csv", "west/orders_nord.csv",
        "flat/orders-a-1.csv", "flat/orders-b-2.csv",
    ):  # fmt: skip
        path = tmp_path / "exports" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("id\n1\n")
    files = find_files([entry], tmp_path, None)
    stores = {dict(one.hive)["store"]: one.name.removeprefix("exports/") for one in files}
    assert {store: stores[store] for store in found} == found
    assert len(files) == len(stores)


def test_the_store_in_the_url_of_an_object():
    pattern = paths._stores_in("s3://shops/{store}/orders_*.parquet", Path())
    assert pattern is not None
    assert paths._store_in("s3://shops/nord/orders_1.parquet", pattern) == "nord"
    assert paths._store_in("s3://shops/a/b/orders_1.parquet", pattern) is None
