"""Object stores: what `s3://`, `gs://` and `az://` URLs stand for, and what their errors mean.

pyarrow speaks to them. Credentials are never part of a URL, which is shown, remembered and logged: they come from where
the stores' own tools look for them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from backfill.errors import SettingsError

__all__ = ["SCHEMES", "Fault", "Place", "fault", "filesystem", "is_stored", "place"]

SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "abfss")
# A request that gets no byte for so long is given up, and tried again a few times: about a minute in all.
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 10.0
ATTEMPTS = 4
# What a URL may say about an S3 store beside its place.
S3_OPTIONS = ("region", "endpoint_override", "scheme")
OPTIONS = re.compile(r"\?([\w.-]+=.*)$", re.DOTALL)
AZURE_HOST = re.compile(r"(?P<account>[a-z0-9-]+)\.(?:blob|dfs)\.[\w.-]+")
# By these variables another store, or another who asks, is meant: a store that is open already can't be used for them.
SAID_BY = re.compile("AWS_|GOOGLE_|STORAGE_EMULATOR_HOST|AZURE_")

PERMISSIONS = "see whether what it is asked with may list the bucket and read what is in it"
FROM_WHERE = {
    "s3": "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role to the machine",
    "gs": "give GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or an account to the machine",
    "az": "give AZURE_STORAGE_KEY, AZURE_STORAGE_CONNECTION_STRING, `az login`, or an identity to the machine",
}
NETWORK = "see to the connection, the endpoint and the proxy, then run again"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL points: `kind` is s3, gs or az; `path` begins with the bucket, as pyarrow wants it; `prefix` is the
    URL's text before the path. `options` is what its query says.
    """

    kind: str
    prefix: str
    path: str
    account: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def bucket(self) -> str:
        return self.path.partition("/")[0]

    def url(self, path: str) -> str:
        """The URL of another path in the same store."""
        if self.prefix.endswith("@"):  # container@account.dfs…/: the container stands before the host
            container, _, below = path.partition("/")
            return f"{self.prefix[:-1].format(container)}{below}{self._query}"
        return f"{self.prefix}{path}{self._query}"

    @property
    def _query(self) -> str:
        return "?" + "&".join(f"{key}={value}" for key, value in self.options) if self.options else ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a store did not do what it was asked for, in words, and what to do."""

    why: str
    hint: str
    missing: bool = field(default=False)


def is_stored(url: str) -> bool:
    """Whether a text is the URL of an object store."""
    return "://" in url and url.partition("://")[0] in SCHEMES


def place(url: str) -> Place:
    """Where a URL points. Raises SettingsError for one with a secret in it, and for one that names no bucket.

    The path is taken as it stands: a key may hold blanks and percent signs.
    """
    scheme, _, rest = url.partition("://")
    kind = {"s3": "s3", "gs": "gs", "gcs": "gs"}.get(scheme, "az")
    rest, options = _options(rest, kind)
    host, _, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    # A secret may have slashes of its own: then what is in front of the first is no whole one.
    if ":" in user or ":" in host or (at and kind != "az"):
        raise SettingsError(
            f"{scheme}://…: the URL holds a user, a port or a secret", hint=f"leave it out; {FROM_WHERE[kind]}"
        )
    shown = f"{scheme}://{host}/{path}"
    account = ""
    prefix = f"{scheme}://"
    if kind == "az":
        named = AZURE_HOST.fullmatch(host)
        if at:
            if not named:
                raise SettingsError(
                    f"{shown}: is no URL of an Azure container",
                    hint=f"as in {scheme}://container@account.dfs.core.windows.net/path, or {scheme}://container/path",
                )
            account, prefix, host = named["account"], f"{scheme}://{{}}@{host}/@", user
        elif named:
            account, prefix = named["account"], f"{scheme}://{host}/"
            host, _, path = path.partition("/")
    if not host or host in (".", ".."):
        raise SettingsError(f"{url}: names no bucket", hint=f"as in {scheme}://bucket/folder/orders.csv")
    return Place(kind, prefix, f"{host}/{path}".rstrip("/") if path else host, account, options)


def _options(rest: str, kind: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The URL's rest without its query, and that. A `?` that no `name=value` follows is a glob's."""
    query = OPTIONS.search(rest)
    if query is None:
        return rest, ()
    options = tuple(parse_qsl(query[1], keep_blank_values=True))
    shown = "…/" + rest[: query.start()].rpartition("/")[2].rpartition("@")[2]
    for name, _ in options:
        if kind != "s3" or name not in S3_OPTIONS:
            known = f"an s3:// URL takes {', '.join(S3_OPTIONS)}; " if kind == "s3" else ""
            raise SettingsError(
                f'{shown}: the URL holds "{name}", which may be a secret',
                hint=f"leave it out; {known}{FROM_WHERE[kind]}",
            )
    return rest[: query.start()], options


def filesystem(at: Place) -> Any:
    """What pyarrow reads and writes the store with; made once for each store. Raises OSError and SettingsError."""
    said = tuple(sorted((name, value) for name, value in os.environ.items() if SAID_BY.match(name)))
    return _filesystem(at.kind, at.bucket if at.kind == "s3" else "", at.account, at.options, said)


# A store is asked by many files; and pyarrow keeps its connections for the next request.
@lru_cache(maxsize=32)
def _filesystem(
    kind: str, bucket: str, account: str, options: tuple[tuple[str, str], ...], said: tuple[tuple[str, str], ...]
) -> Any:
    environment = dict(said)
    if kind == "s3":
        return _s3(bucket, dict(options), environment)
    return _gs(environment) if kind == "gs" else _azure(account, environment)


def _s3(bucket: str, options: Mapping[str, str], environment: Mapping[str, str]) -> Any:
    from pyarrow import fs

    endpoint = options.get("endpoint_override", "")
    if not endpoint and environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
        endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
    said = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    region = options.get("region")
    if region is None and not endpoint:
        try:
            # A bucket may be elsewhere than where its reader works: Amazon tells where, if it can be asked.
            region = fs.resolve_s3_region(bucket)
        except OSError:
            region = said
    return fs.S3FileSystem(
        region=region or said or ("us-east-1" if endpoint else None),
        endpoint_override=endpoint or None,
        scheme=options.get("scheme"),
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        # 500, 503 SlowDown and broken connections are tried again, each time after a longer pause.
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        # A folder is no object: none is made for it, and no rights on the bucket are needed.
        allow_bucket_creation=False,
    )


def _gs(environment: Mapping[str, str]) -> Any:
    from pyarrow import fs

    emulator = environment.get("STORAGE_EMULATOR_HOST", "")
    if emulator:
        at = urlsplit(emulator if "://" in emulator else f"http://{emulator}")
        return fs.GcsFileSystem(
            anonymous=True, scheme=at.scheme, endpoint_override=at.netloc, retry_time_limit=_gs_seconds()
        )
    return fs.GcsFileSystem(retry_time_limit=_gs_seconds())


def _gs_seconds() -> timedelta:
    return timedelta(seconds=ATTEMPTS * REQUEST_SECONDS)


def _azure(account: str, environment: Mapping[str, str]) -> Any:
    from pyarrow import fs

    text = environment.get("AZURE_STORAGE_CONNECTION_STRING", "")
    connection = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if account and connection.get("AccountName", account) != account:
        connection = {}
    account = account or connection.get("AccountName") or environment.get("AZURE_STORAGE_ACCOUNT", "")
    if not account:
        raise SettingsError(
            "az://: no storage account is named",
            hint="set AZURE_STORAGE_ACCOUNT, or write abfss://container@account.dfs.core.windows.net/path",
        )
    key = connection.get("AccountKey") or environment.get("AZURE_STORAGE_KEY")
    token = connection.get("SharedAccessSignature") or environment.get("AZURE_STORAGE_SAS_TOKEN")
    said: dict[str, Any] = {"account_key": key} if key else {"sas_token": token} if token else {}
    blob = urlsplit(connection.get("BlobEndpoint", ""))
    if blob.netloc:
        # The flat namespace is all that is used, so that a store without Data Lake's own endpoint does.
        for name in ("blob", "dfs"):
            said |= {f"{name}_storage_authority": blob.netloc, f"{name}_storage_scheme": blob.scheme}
    return fs.AzureFileSystem(account, **said)


# What the stores' answers mean, in the order in which they are looked for; `{kind}` is the credentials' hint.
_MEANINGS: tuple[tuple[str, str, str], ...] = (
    (
        r"NO_SUCH_BUCKET|NoSuchBucket|ContainerNotFound|bucket does not exist",
        "there is no such bucket",
        "see to its name, and to the endpoint or account that is asked",
    ),
    (
        r"NO_SUCH_KEY|RESOURCE_NOT_FOUND|NoSuchKey|BlobNotFound|NOT_FOUND|Path does not exist|\b404\b",
        "there is no such file or bucket",
        "see to its name: capitals and blanks count",
    ),
    (
        r"status 301|PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint",
        "the bucket is in another region than is asked",
        "set AWS_REGION to the bucket's region",
    ),
    (
        r"EXPIRED_TOKEN|ExpiredToken|TokenRefreshRequired|REQUEST_EXPIRED|RequestTimeTooSkewed|REQUEST_TIME_TOO_SKEWED",
        "the credentials have expired, or this machine's clock is wrong",
        "log in again, or set the clock",
    ),
    (
        (
            r"INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH"
            r"|SignatureDoesNotMatch|UNRECOGNIZED_CLIENT|AuthenticationFailed|INVALID_SIGNATURE|InvalidToken|\b401\b"
        ),
        "the credentials are not known there, or are wrong",
        "{kind}",
    ),
    (
        (
            r"MISSING_AUTHENTICATION_TOKEN|NO_CREDENTIALS|OAuth2 access token|default credentials"
            r"|DefaultAzureCredential|Could not find credentials|UNAUTHENTICATED|CredentialUnavailable"
        ),
        "no credentials were found",
        "{kind}",
    ),
    (
        (
            r"ACCESS_DENIED|AccessDenied|PERMISSION_DENIED|AuthorizationFailure|AuthorizationPermissionMismatch|Forbidden"
            r"|\b403\b"
        ),
        "access was denied",
        PERMISSIONS + "; {kind}",
    ),
    (
        r"curlCode: 6,|CURL error \[6\]|Could not resolve|Couldn't resolve",
        "its host's name could not be found",
        NETWORK,
    ),
    (
        r"curlCode: 28|CURL error \[28\]|Timeout|timed out|DEADLINE_EXCEEDED|Operation too slow",
        "the store did not answer in time",
        NETWORK,
    ),
    (
        r"curlCode: 60|curlCode: 35|certificate|SSL",
        "its certificate was not accepted",
        NETWORK,
    ),
    (
        (
            r"NETWORK_CONNECTION|curlCode|Couldn't connect|Could not connect|Connection refused|Connection reset"
            r"|Broken pipe|Fail to get a new connection|CURL error"
        ),
        "the store could not be reached, or the connection broke",
        NETWORK,
    ),
    (
        (
            r"SLOW_DOWN|SlowDown|THROTTLING|TooManyRequests|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|InternalError"
            r"|ServerBusy|status 5\d\d|UNAVAILABLE|Retry policy exhausted.*(?:50\d|429)"
        ),
        "the store failed or was too busy, again and again",
        "run again later",
    ),
)
# By these an error of pyarrow's is known to come from a store, and not from what a file holds.
_FROM_STORE = re.compile(
    r"AWS Error|google::cloud|Could not create a (?:Read|Write)Object|curlCode|Azure|GetProperties|DownloadTo"
    r"|When (?:reading|listing|getting|initiating|uploading|completing|resolving|testing)|Path does not exist"
    r"|PerformWork|Retry policy exhausted|Permanent error"
)


def fault(url: str, error: BaseException) -> Fault | None:
    """What an error means if it is the store's; None when it is about something else, such as what a file holds.

    The store's own words are left out where they are understood: they hold request ids, hosts and account names.
    """
    text = str(error)
    # What Google's client has no word for, pyarrow calls invalid, as it does a file.
    if not isinstance(error, OSError) and "google::cloud::Status" not in text:
        return None
    missing = isinstance(error, FileNotFoundError)
    if not missing and not isinstance(error, PermissionError) and not _FROM_STORE.search(text):
        return None
    kind = {"s3": "s3", "gs": "gs", "gcs": "gs"}.get(url.partition("://")[0], "az")
    # Names of buckets and keys are quoted, and could say anything.
    plain = re.sub(r"'[^']*'", "''", text)
    for pattern, why, hint in _MEANINGS:
        if re.search(pattern, plain):
            return Fault(why, hint.format(kind=FROM_WHERE[kind]), missing=missing)
    if missing:
        return Fault(*_MEANINGS[1][1:], missing=True)
    code = re.search(r"AWS Error (\w+(?: \([^)]*\))?) during (\w+)", plain)
    said = f"{code[2]}: {code[1]}" if code else _without_secrets(plain.splitlines()[0][:200])
    return Fault(f"the store answered with an error ({said})", PERMISSIONS)


def _without_secrets(text: str) -> str:
    """Without what the environment says about credentials, and what looks like a signature."""
    for name, value in os.environ.items():
        if len(value) > 3 and SAID_BY.match(name):
            text = text.replace(value, "…")
    return re.sub(r"(?i)(signature|sig|token|credential|key)=[^&\s]+", r"\1=…", unquote(text))
