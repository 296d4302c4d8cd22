"""Files by URL: paths that tell their URL, copies that are renewed when they must be, and errors in one line."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from remote_files import cache, put, remove, s3_server, web_server

from lat.core import remote
from lat.core.errors import InputError
from lat.core.files import sha256_of_file

__all__ = ["cache"]


@pytest.mark.parametrize(
    "url", ["s3://bucket/a/b c.jpg", "gs://bucket/a%20b", "https://host:8080/x/y.json", "memory://a/b", "s3://bucket"]
)
def test_a_path_tells_the_url_that_it_was_made_of(url: str, cache: Path) -> None:
    path = remote.as_path(url)
    assert remote.is_remote(path)
    assert remote.name_of(path) == url
    assert remote.name_of(path / "image.jpg") == f"{url}/image.jpg"
    assert remote.as_path(remote.name_of(path)) == path


def test_a_path_of_this_machine_stays_what_it_is(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"here")
    for place in (str(tmp_path / "a.txt"), f"file://{tmp_path}/a.txt"):
        path = remote.as_path(place)
        assert (path, remote.is_remote(path), remote.read_bytes(path)) == (tmp_path / "a.txt", False, b"here")
    assert remote.as_path("data/s3:/x") == Path("data/s3:/x")
    assert not cache.exists()


@pytest.mark.parametrize("url", ["s3://", "s3://bucket/../other", "zip::s3://bucket/images.zip"])
def test_a_url_that_names_no_place_is_refused(url: str, cache: Path) -> None:
    with pytest.raises(InputError, match="URL"):
        remote.as_path(url)


def test_a_copy_is_fetched_once_and_again_when_the_object_has_changed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("memory://data/a.txt", b"one")
    path = remote.as_path("memory://data/a.txt")
    first = remote.stamp_of(path)
    assert first is not None
    assert first.size == 3
    assert not path.exists(), "asking for a stamp fetches nothing"
    assert remote.read_bytes(path) == b"one"
    assert (path.stat().st_size, path.stat().st_mtime_ns) == first

    put("memory://data/a.txt", b"two")
    assert remote.read_bytes(path) == b"one", "this process has asked before"
    remote.forget()
    assert remote.read_bytes(path) == b"one", "a copy is trusted"
    assert remote.read_bytes(path, renew=True) == b"two"
    assert remote.stamp_of(path) != first
    assert sha256_of_file(path) == "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


def test_a_folder_is_listed_once_and_tells_all_stamps(cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as bucket:
        for name in ("images/a.jpg", "images/deep/b.jpg", "images2/c.jpg"):
            put(f"{bucket}/{name}", name.encode())
        folder = remote.as_path(f"{bucket}/images")
        assert remote.is_folder(folder)
        assert not remote.is_folder(remote.as_path(f"{bucket}/image"))
        for name in ("images/a.jpg", "images/deep/b.jpg"):  # a process that asked again would find them gone
            remove(f"{bucket}/{name}")
        found = [remote.stamp_of(folder / name) for name in ("a.jpg", "deep/b.jpg", "c.jpg")]
        assert [stamp and stamp.size for stamp in found] == [12, 17, None]
        assert remote.is_folder(folder)


def test_s3_answers_the_same_whether_a_folder_or_a_file_is_asked_about(cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as bucket:
        put(f"{bucket}/images/a.jpg", b"12345")
        path = remote.as_path(f"{bucket}/images/a.jpg")
        alone = remote.stamp_of(path)
        remote.forget()
        assert remote.is_folder(path.parent)
        assert remote.stamp_of(path) == alone
        assert remote.read_bytes(path) == b"12345"
        put(f"{bucket}/images/a.jpg", b"54321")
        remote.forget()
        assert remote.is_folder(path.parent)
        assert remote.read_bytes(path) == b"54321", "the listing says that the copy is old"
        remote.upload(path, b"new")
        assert remote.read_bytes(path, renew=True) == b"new"


def _read_in_child(path: Path, answer: multiprocessing.SimpleQueue[bytes]) -> None:
    answer.put(remote.read_bytes(path))


def test_a_forked_process_fetches_too(cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as bucket:
        put(f"{bucket}/a", b"a")
        put(f"{bucket}/b", b"b")
        assert remote.read_bytes(remote.as_path(f"{bucket}/a")) == b"a"
        context = multiprocessing.get_context("fork")
        answer = context.SimpleQueue()
        child = context.Process(target=_read_in_child, args=(remote.as_path(f"{bucket}/b"), answer), daemon=True)
        child.start()
        child.join(20)
        assert child.exitcode == 0
        assert answer.get() == b"b"


def test_a_web_server_is_asked_once_for_each_file(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_bytes(b"web")
    with web_server(tmp_path) as (url, requests):
        path = remote.as_path(f"{url}/a b.txt")
        assert remote.is_folder(path.parent)
        assert [remote.read_bytes(path, renew=True) for _ in range(3)] == [b"web"] * 3
        assert requests == ["HEAD /a%20b.txt", "GET /a%20b.txt"]
        os.utime(tmp_path / "a b.txt", (1, 1))
        (tmp_path / "a b.txt").write_bytes(b"WEB")
        os.utime(tmp_path / "a b.txt", (2, 2))
        remote.forget()
        assert remote.read_bytes(path, renew=True) == b"WEB"


def test_what_goes_wrong_is_one_line_with_url_and_remedy(cache: Path, tmp_path: Path) -> None:
    with web_server(tmp_path) as (url, _):
        secret, absent = f"{url}/secret", f"{url}/absent"
        said = {place: error_of(place) for place in (secret, absent, "memory://none", "nonsense://a/b", "gs://bucket/a")}
    assert said[secret].startswith(f"{secret}: no access (403")
    assert said[absent] == f"{absent}: no such object; correct the path, or upload it"
    assert said["memory://none"] == "memory://none: no such object; correct the path, or upload it"
    assert said["nonsense://a/b"] == (
        "nonsense://a/b: the protocol nonsense:// is not known; use a path, s3://, gs:// or https://"
    )
    assert said["gs://bucket/a"] == "gs://bucket/a: gs:// needs the package gcsfs; pip install 'lat-detection[gcs]'"
    assert "cannot be read (Cannot connect" in error_of(absent), "the server is gone"


def test_no_credentials_are_told_apart_from_no_object(cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as bucket:
        assert error_of(f"{bucket}/none") == f"{bucket}/none: no such object; correct the path, or upload it"
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        assert error_of(f"{bucket}/other").startswith(f"{bucket}/other: no access (")


def error_of(place: str) -> str:
    remote.forget()
    with pytest.raises(InputError) as caught:
        remote.read_bytes(remote.as_path(place))
    assert "\n" not in str(caught.value)
    return str(caught.value)
