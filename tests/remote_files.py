"""Places that are not this machine's disk: a web server and an S3 server on the loopback, and fsspec's memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import fsspec
import pytest

from lat.core import remote

_numbers = count()


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder; notes each request, and refuses files whose name has `secret`."""

    requests: list[str]

    def send_head(self) -> Any:
        self.requests.append(f"{self.command} {self.path}")
        if "secret" in self.path:
            self.send_error(403)
            return None
        return super().send_head()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def web_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The URL of a folder on a web server, and the requests that it was asked, as they come."""
    requests: list[str] = []
    kind = type("Handler", (_Handler,), {"requests": requests})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()
        thread.join()


@contextmanager
def s3_server(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket on a server that speaks the protocol of S3; the test is skipped if there is no such package."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(key, "tests")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    bucket = f"lat-tests-{next(_numbers)}"  # all servers of a process share what they keep
    fsspec.filesystem("s3").mkdir(bucket)
    yield f"s3://{bucket}"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


def put(url: str, content: bytes) -> None:
    """Write an object."""
    system, key = fsspec.core.url_to_fs(url)
    system.pipe_file(key, content)


def remove(url: str) -> None:
    """Delete an object."""
    system, key = fsspec.core.url_to_fs(url)
    system.rm_file(key)


def put_folder(folder: Path, url: str) -> None:
    """Write all files of a folder below a URL."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and a process that knows of no remote file."""
    monkeypatch.setenv("LAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LAT_CACHE_GB", raising=False)
    remote.forget()
    yield tmp_path / "cache"
    remote.forget()
    fsspec.filesystem("memory").store.clear()
