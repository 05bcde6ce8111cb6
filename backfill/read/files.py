"""The files of an export: which they are, in which order, and whether they are still the same."""

from __future__ import annotations

import difflib
import glob
import gzip
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast
from urllib.parse import urlsplit

from backfill.errors import ExportError

__all__ = ["ExportFile", "Fingerprint", "Format", "find_files", "fingerprint", "open_bytes"]

Format = Literal["csv", "parquet", "ndjson", "arrow", "excel"]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".ods": "excel",
}
COMPRESSED = (".gz", ".zst", ".zstd")
REMOTE = ("s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https")


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of the export.

    `uri` opens it (an absolute path or a URL), `name` is how messages call it, `hive` are the columns that its folders
    name (`year=2024/`).
    """

    position: int
    uri: str
    name: str
    format: Format
    hive: tuple[tuple[str, str], ...] = ()

    @property
    def remote(self) -> bool:
        return is_remote(self.uri)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells that a file was written since: size in bytes, time of the last change, and which file it is."""

    size: int
    modified_ns: int
    inode: int


def is_remote(uri: str) -> bool:
    return urlsplit(uri).scheme in REMOTE and "://" in uri


def fingerprint(file: ExportFile) -> Fingerprint | None:
    """Of a local file; None for a URL, whose store has no such thing for all schemes."""
    if file.remote:
        return None
    try:
        stat = os.stat(file.uri)
    except OSError as error:
        raise ExportError(f"{file.name}: can't be read: {error.strerror}") from error
    return Fingerprint(stat.st_size, stat.st_mtime_ns, stat.st_ino)


def find_files(entries: Sequence[str], base: Path, declared: Format | None) -> list[ExportFile]:
    """The files of `source.files`, in the order that the entries and then their names give.

    `base` is the mapping's folder: entries are relative to it. A folder stands for every file of a known suffix below
    it; names that start with `.` or `_` are left out, as Spark and Hive write them for themselves.
    """
    found: list[ExportFile] = []
    seen: set[str] = set()
    for entry in entries:
        for uri, name in _expand(entry, base, declared):
            if uri not in seen:
                seen.add(uri)
                found.append(ExportFile(len(found), uri, name, _format(uri, name, declared), _hive(entry, name)))
    return found


def open_bytes(file: ExportFile) -> BinaryIO:
    """The file's bytes, decompressed when they are gzip or zstandard (by their first bytes, whatever the suffix)."""
    try:
        raw = _open_remote(file.uri) if file.remote else open(file.uri, "rb")  # noqa: SIM115 (the caller closes it)
    except OSError as error:
        raise ExportError(f"{file.name}: can't be opened: {error.strerror or error}") from error
    try:
        magic = raw.read(4)
        raw.seek(0)
    except OSError as error:
        raw.close()
        raise ExportError(f"{file.name}: can't be read: {error.strerror or error}") from error
    if magic[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if magic == b"\x28\xb5\x2f\xfd":
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    if magic == b"PK\x03\x04" and file.format != "excel":
        raw.close()
        raise ExportError(f"{file.name}: is a ZIP archive", hint="unpack it and name the file inside")
    return raw


def _open_remote(uri: str) -> BinaryIO:
    if urlsplit(uri).scheme in {"http", "https"}:
        import tempfile

        import httpx

        # A temporary file, because the export is read more than once and must be the same each time.
        spool = tempfile.TemporaryFile()
        with httpx.stream("GET", uri, follow_redirects=True) as response:
            if response.status_code != 200:
                raise OSError(f"the server answered {response.status_code}")
            for piece in response.iter_bytes():
                spool.write(piece)
        spool.seek(0)
        return cast(BinaryIO, spool)
    from pyarrow import fs

    filesystem, path = fs.FileSystem.from_uri(re.sub("^(gcs)://", "gs://", re.sub("^az://", "abfs://", uri)))
    return cast(BinaryIO, filesystem.open_input_file(path))


def _expand(entry: str, base: Path, declared: Format | None) -> list[tuple[str, str]]:
    if is_remote(entry):
        return _expand_remote(entry)
    path = Path(os.path.expanduser(entry))
    full = path if path.is_absolute() else base / path
    if full.is_dir():
        names = [
            str(found)
            for found in sorted(full.rglob("*"))
            if found.is_file()
            and not any(part.startswith((".", "_")) for part in found.relative_to(full).parts)
            and (declared or _suffix(found.name) in SUFFIXES)
        ]
        if not names:
            raise ExportError(f"{entry}: no file of a known kind in this folder", hint="known are " + _known())
    elif full.exists():
        names = [str(full)]
    elif glob.has_magic(entry):
        names = sorted(name for name in glob.glob(str(full), recursive=True) if os.path.isfile(name))
        if not names:
            raise ExportError(f"{entry}: no file matches this pattern", hint=f"it is looked for in {full.parent}")
    else:
        siblings = [found.name for found in full.parent.iterdir()] if full.parent.is_dir() else []
        close = difflib.get_close_matches(full.name, siblings, n=1)
        hint = f'did you mean "{close[0]}"?' if close else f"paths are relative to the mapping's folder, {base}"
        raise ExportError(f"{entry}: no such file", hint=hint)
    return [(os.path.abspath(name), _shown(name, base)) for name in names]


def _expand_remote(entry: str) -> list[tuple[str, str]]:
    if urlsplit(entry).scheme in {"http", "https"} or not (glob.has_magic(entry) or entry.endswith("/")):
        return [(entry, entry)]
    from pyarrow import fs

    root = re.split(r"[*?\[]", entry, maxsplit=1)[0].rpartition("/")[0]
    scheme = entry.split("://", 1)[0]
    filesystem, path = fs.FileSystem.from_uri(re.sub("^az://", "abfs://", root))
    try:
        listing = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    except OSError as error:
        raise ExportError(f"{entry}: can't be listed: {error}") from error
    pattern = re.compile(glob_pattern(entry if glob.has_magic(entry) else entry + "**"))
    names = sorted(f"{scheme}://{info.path}" for info in listing if info.is_file)
    names = [name for name in names if pattern.fullmatch(name) and _suffix(name) in SUFFIXES]
    if not names:
        raise ExportError(f"{entry}: no file matches")
    return [(name, name) for name in names]


def glob_pattern(text: str) -> str:
    """A regular expression for a glob: `*` and `?` stay within a folder, `**` does not."""
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*|\?)", text))


def _format(uri: str, name: str, declared: Format | None) -> Format:
    if declared:
        return declared
    known = SUFFIXES.get(_suffix(urlsplit(uri).path if is_remote(uri) else uri))
    if known is None:
        raise ExportError(f"{name}: its suffix says nothing about its format", hint="set source.format in the mapping")
    return known


def _suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name.lower())
    return os.path.splitext(stem)[1] if suffix in COMPRESSED else suffix


def _hive(entry: str, name: str) -> tuple[tuple[str, str], ...]:
    """Columns from folders such as `year=2024`, also when the entry itself names some of them."""
    folders = re.split(r"[/\\]", name)[:-1]
    return tuple((key, value) for key, mark, value in (part.partition("=") for part in folders) if mark and key)


def _shown(name: str, base: Path) -> str:
    full = os.path.abspath(name)
    below = os.path.relpath(full, base)
    return full if below.startswith("..") else below


def _known() -> str:
    return ", ".join(SUFFIXES) + " (also .gz and .zst)"
