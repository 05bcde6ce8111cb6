"""Files that are elsewhere: what a web server gives, and the objects of a store."""

from __future__ import annotations

import glob
import io
import ipaddress
import os
import re
import tempfile
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from backfill.errors import ExportError, SettingsError
from backfill.objectstore import fault, filesystem, is_stored, place

__all__ = [
    "Fingerprint",
    "WebCopy",
    "expand",
    "is_remote",
    "is_web",
    "key",
    "open_stored",
    "root",
    "stored_fingerprint",
    "web_name",
]

# What is read on and on is fetched by so much at first, which is enough for a look at a file's beginning, then by twice
# that each time: each request has to wait for its answer.
FIRST_BYTES = 262_144
MOST_BYTES = 8_388_608


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells that a file was written since: size in bytes, time of the last change, and its inode, or of a store's
    object its ETag or generation.
    """

    size: int
    modified_ns: int
    version: str = ""


class WebCopy:
    """What a web server gave for a URL, fetched once, when it is first asked for: a second answer may be another one,
    Parquet is read from its end, and a connection may not last as long as a run. The copy goes when this object does.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._path: Path | None = None

    def path(self) -> Path:
        """Where the copy is. Raises OSError."""
        if self._path is None:
            handle, name = tempfile.mkstemp(prefix="backfill-")
            weakref.finalize(self, Path(name).unlink, missing_ok=True)
            with os.fdopen(handle, "wb") as spool:
                fetch(self.url, spool)
            self._path = Path(name)
        return self._path


class Ahead(io.RawIOBase):
    """A store's object, for who reads on and on: each request fetches some more than is asked for."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._size: int = source.size()
        self._at = 0
        self._start = 0
        self._held = b""
        self._step = FIRST_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        if self.closed:
            raise ValueError("it is closed")
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer at the end only. Raises OSError."""
        left = max(0, self._size - self._at)
        size = left if size is None or size < 0 else min(size, left)
        parts = []
        while size:
            within = self._at - self._start
            if not 0 <= within < len(self._held):
                self._fetch(size)
                within = 0
            part = self._held[within : within + size]
            parts.append(part)
            self._at += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _fetch(self, size: int) -> None:
        if self._at != self._start + len(self._held):
            self._step = FIRST_BYTES
        self._start = self._at
        self._held = b""
        self._held = self._again(min(max(size, self._step), self._size - self._at))
        self._step = min(self._step * 2, MOST_BYTES)
        if not self._held:
            raise OSError("it ended before its size")

    def _again(self, size: int) -> bytes:
        """So many bytes from here on. pyarrow asks again a store that is busy, but where the answer is longer than what
        was asked for: it takes that for an error of its own.
        """
        for seconds in (0.2, 1.0):
            try:
                return bytes(self._source.read_at(size, self._at))
            except OSError as error:
                if "flush response stream" not in str(error):
                    raise
            time.sleep(seconds)
        return bytes(self._source.read_at(size, self._at))

    def close(self) -> None:
        if not self.closed:
            self._source.close()
            self._held = b""
        super().close()


def open_stored(url: str, *, on_and_on: bool) -> BinaryIO:
    """An object of a store. Raises OSError and SettingsError."""
    source = filesystem(at := place(url)).open_input_file(at.path)
    return cast("BinaryIO", Ahead(source) if on_and_on else source)


def stored_fingerprint(url: str) -> Fingerprint:
    """What the store says of an object, in one request: S3's ETag changes with the content, and so does Google's
    generation and Azure's ETag; who gives none is trusted with size and time. Raises OSError and SettingsError.
    """
    at = place(url)
    with filesystem(at).open_input_file(at.path) as source:
        said = {name.lower(): value for name, value in _text_items(source.metadata() or {})}
        size = source.size()
    version = said.get("generation") or said.get("versionid") or said.get("etag", "")
    return Fingerprint(size, _time(said.get("last-modified") or said.get("updated") or ""), version.strip('"'))


def _text_items(metadata: Any) -> list[tuple[str, str]]:
    return [(_as_text(name), _as_text(value)) for name, value in dict(metadata).items()]


def _as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _time(text: str) -> int:
    """Nanoseconds since 1970 of a time as stores write it; 0 of what is none."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return int(parse(text).timestamp()) * 1_000_000_000
        except (ValueError, OverflowError):
            continue
    return 0


def expand(entry: str, known: Callable[[str], bool]) -> list[str]:
    """The URLs that an entry stands for: its own, those that match it as a glob, or of a folder all below it that are
    `known` by their name. What is left out there begins with `.` or `_`: Spark and Hive write it for themselves.

    Raises ExportError and SettingsError.
    """
    at = place(entry)
    is_glob = glob.has_magic(at.path)
    if not (is_glob or entry.endswith("/")):
        if known(at.path) and "/" in at.path:
            return [entry]
        if not _is_folder(entry):
            return [entry]
    below = re.split(r"[*?\[]", at.path, maxsplit=1)[0].rpartition("/")[0] if is_glob else at.path
    # Everything below is listed only where it is wanted: a bucket may hold millions of objects.
    rest = at.path.removeprefix(below).removeprefix("/")
    listing = _listing(entry, below, deep=not is_glob or "/" in rest or "**" in rest)
    if is_glob:
        pattern = re.compile(glob_pattern(at.path), re.DOTALL)
        names = [name for name in listing if pattern.fullmatch(name) and known(name)]
    else:
        names = [name for name in listing if known(name) and not _is_hidden(name.removeprefix(below))]
    if not names:
        raise ExportError(f"{entry}: no file matches", hint="look at the pattern of source.files, and into the bucket")
    return sorted(at.url(name) for name in names)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _is_folder(entry: str) -> bool:
    """Whether an entry without a slash at its end is a folder nevertheless."""
    from pyarrow import fs

    at = place(entry)
    if at.path == at.bucket:
        return True
    try:
        return bool(filesystem(at).get_file_info(at.path).type == fs.FileType.Directory)
    except OSError as error:
        raise _unlisted(entry, error) from error


def _listing(entry: str, below: str, *, deep: bool) -> list[str]:
    from pyarrow import fs

    try:
        listing = filesystem(place(entry)).get_file_info(fs.FileSelector(below, recursive=deep))
    except OSError as error:
        raise _unlisted(entry, error) from error
    return [info.path for info in listing if info.is_file]


def _unlisted(entry: str, error: OSError) -> ExportError:
    meant = fault(entry, error)
    why, hint = (meant.why, meant.hint) if meant else (str(error), "see to the bucket and its permissions")
    if meant and meant.missing:
        why = "there is no such folder or bucket"
    return ExportError(f"{entry}: can't be listed: {why}", hint=hint)


def glob_pattern(text: str) -> str:
    """A regular expression for a glob: `*` and `?` stay within a folder, `**` does not."""
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*|\?)", text))


def root(url: str) -> str:
    """The folder that a URL spells out: all before its first glob; all of it where it is asked for one file."""
    if is_web(url):
        return url
    at = place(url)
    if glob.has_magic(at.path):
        return at.url(re.split(r"[*?\[]", at.path, maxsplit=1)[0].rpartition("/")[0]).partition("?")[0]
    return at.url(at.path).partition("?")[0]


def key(url: str) -> str:
    """A URL without its query."""
    return place(url).path if is_stored(url) else urlsplit(url).path


def fetch(url: str, into: BinaryIO) -> None:
    import httpx

    at = httpx.URL(url)
    try:
        for _ in range(5):
            with httpx.stream("GET", at) as response:
                there = response.next_request
                if there is None:
                    if response.status_code != httpx.codes.OK:
                        raise OSError(f"the server answered {response.status_code}")
                    into.writelines(response.iter_bytes())
                    return
            if (there.url.scheme, there.url.host, there.url.port) != (at.scheme, at.host, at.port):
                raise OSError(f"the server redirects to {there.url.scheme}://{there.url.host}, where nobody said it is")
            at = there.url
        raise OSError("the server redirects again and again")
    except httpx.HTTPError as error:
        raise OSError(str(error) or type(error).__name__) from error


def web_name(entry: str) -> str:
    """What messages call a URL on the web: without its query, which may be what lets one in. Raises SettingsError."""
    import httpx

    try:
        url = httpx.URL(entry)
        host = url.host
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise SettingsError("a URL in source.files is no URL", hint="as in https://example.com/orders.csv") from None
    place = f"{url.scheme}://{url.netloc.decode()}{url.path}"
    if url.userinfo:
        raise SettingsError(
            f"{place}: the URL holds a user or password", hint="leave it out; a presigned URL needs none"
        )
    if url.scheme == "http" and not _is_this_machine(host):
        raise SettingsError(f"{place}: is not encrypted, and could be changed on its way", hint="use https://")
    return place


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_remote(uri: str) -> bool:
    return is_web(uri) or is_stored(uri)


def is_web(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))
