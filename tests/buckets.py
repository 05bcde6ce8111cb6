"""A server of the S3 protocol for tests: moto's, over HTTP, with a look at what is asked and a hand on the answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

REGION = "us-east-1"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class Bucket:
    """A server with one bucket. `asked` are the requests: method and path; `sent` the bytes of the bodies that GET got.

    `answer`, given method and path, may answer instead: a status and a body; None leaves it to the server.
    """

    port: int
    name: str
    environment: dict[str, str]
    filesystem: Any
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    answer: Callable[[str, str], tuple[str, bytes] | None] = lambda _method, _path: None
    stop: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, data: bytes) -> None:
        with self.filesystem.open_output_stream(f"{self.name}/{key}", compression=None) as out:
            out.write(data)

    def get(self, key: str) -> bytes:
        with self.filesystem.open_input_stream(f"{self.name}/{key}", compression=None) as source:
            return bytes(source.read())

    def listed(self) -> list[str]:
        from pyarrow import fs

        found = self.filesystem.get_file_info(fs.FileSelector(self.name, recursive=True))
        return sorted(info.path.removeprefix(f"{self.name}/") for info in found if info.is_file)

    def forget(self) -> None:
        """What was asked until now."""
        self.asked.clear()
        self.sent = 0

    def lists(self) -> int:
        """How often the bucket was listed."""
        return sum("list-type=2" in path for _, path in self.asked)


def _reader(endpoint: str) -> tuple[str, str]:
    """The key and the secret of somebody who may do everything with buckets, on a server that holds nothing else."""
    import boto3
    import httpx

    httpx.post(f"{endpoint}/moto-api/reset").raise_for_status()
    nobody = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    iam = boto3.client("iam", endpoint_url=endpoint, region_name=REGION, **nobody)
    iam.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="buckets", PolicyDocument=document)
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    return made["AccessKeyId"], made["SecretAccessKey"]


@contextmanager
def bucket(require: Callable[[object, str], None], name: str = "shop-exports") -> Iterator[Bucket]:
    """A bucket that verifies signatures: `environment` is what its reader may use."""
    try:
        from moto.server import DomainDispatcherApplication, create_backend_app
    except ImportError:
        require(condition=False, reason="moto[server] is not installed")
        raise
    import logging

    from moto import settings
    from pyarrow import fs
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").disabled = True
    inner = DomainDispatcherApplication(create_backend_app)
    made: list[Bucket] = []

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        path = environ["PATH_INFO"] + (f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else "")
        if not made:
            return inner(environ, start)  # type: ignore[no-any-return]
        box = made[0]
        box.asked.append((method, path))
        own = box.answer(method, path)
        if "HTTP_AUTHORIZATION" not in environ:
            # As Amazon's answers who does not say who asks; moto's fails over it.
            own = "403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>"
        if own is not None:
            start(own[0], [("Content-Length", str(len(own[1])))])
            return [own[1]]
        parts = list(inner(environ, start))
        box.sent += sum(map(len, parts)) if method == "GET" else 0
        return parts

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    stopped: list[bool] = []

    def stop() -> None:
        if not stopped:
            stopped.append(True)
            server.shutdown()
            server.server_close()
            thread.join()

    endpoint = f"http://127.0.0.1:{server.server_port}"
    settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
    access_key, secret = _reader(endpoint)
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    filesystem = fs.S3FileSystem(
        access_key=access_key,
        secret_key=secret,
        region=REGION,
        endpoint_override=endpoint,
        allow_bucket_creation=True,
    )
    filesystem.create_dir(name)
    made.append(Bucket(server.server_port, name, environment, filesystem, stop=stop))
    try:
        yield made[0]
    finally:
        stop()
