"""A whole run whose images and labels lie on an S3 server, and what it asks of that server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from remote_files import cache, put_folder, s3_server
from tiny import FEW_STEPS, draw_tiny, quiet, result_bytes, tiny_workspace

from lat.commands.check import check_all
from lat.config.load import load_config
from lat.core import remote
from lat.pipeline.run import run_stages

__all__ = ["cache"]


def moved(config: Path, bucket: str) -> Path:
    """Upload the data of a configuration, and write one that names it there."""
    put_folder(config.parent / "data", f"{bucket}/data")
    text = config.read_text(encoding="utf-8").replace(f"{config.parent}/data", f"{bucket}/data")
    path = config.with_name("remote.yaml")
    path.write_text(text, encoding="utf-8")
    assert yaml.safe_load(text)["data_root"] == f"{bucket}/data"
    return path


def comparable(output_dir: Path) -> dict[str, bytes]:
    """The bytes of results without the hash of the settings, which name the data's place."""
    found = result_bytes(output_dir)
    return {name: re.sub(rb'"config_sha256":"[0-9a-f]{64}"', b"", content) for name, content in found.items()}


@pytest.mark.slow
def test_a_run_on_remote_data_writes_the_same_bytes(tmp_path: Path, cache: Path) -> None:
    config = draw_tiny(tmp_path)
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as bucket:
        there = moved(config, bucket)
        settings = ["downstream.in_run=false"]
        for path, run in ((config, "here"), (there, "there")):
            run_stages(tiny_workspace(path, tmp_path / run, *settings), say=quiet)
        here, found = comparable(tmp_path / "here"), comparable(tmp_path / "there")
        labels = [name for name in here if name.startswith(("transferred", "pseudo_labels", "upstream"))]
        assert len(labels) >= 15
        assert here.keys() == found.keys()
        assert [name for name in labels if here[name] != found[name]] == []
        assert not run_stages(tiny_workspace(there, tmp_path / "there", *settings), say=quiet), "and is up to date"


def test_check_of_remote_data_lists_each_folder_once_and_writes_manifests_there(tmp_path: Path, cache: Path) -> None:
    config = draw_tiny(tmp_path)
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as bucket:
        there = load_config(moved(config, bucket), FEW_STEPS)
        listed: list[str] = []
        asked: list[str] = []
        _count_calls(patch, listed, asked)
        assert check_all(there, write_manifests=True)
        folders = {one.images for one in there.datasets} | {one.validation_images for one in there.datasets} - {""}
        assert sorted(listed) == sorted(folder.removeprefix("s3://") for folder in folders)
        assert not [key for key in asked if key.endswith((".jpg", ".png"))]

        remote.forget()
        for image in [*cache.rglob("*.jpg"), *cache.rglob("*.png")]:
            image.unlink()
        assert check_all(there)
        assert not [*cache.rglob("*.jpg"), *cache.rglob("*.png")], "the manifests tell what the images are"


def _count_calls(patch: pytest.MonkeyPatch, listed: list[str], asked: list[str]) -> None:
    """Note what is listed and asked about one by one on S3, and do it."""
    import s3fs

    find, info = s3fs.S3FileSystem.find, s3fs.S3FileSystem.info
    patch.setattr(s3fs.S3FileSystem, "find", lambda self, path, **options: listed.append(path) or find(self, path, **options))
    patch.setattr(s3fs.S3FileSystem, "info", lambda self, path, **options: asked.append(path) or info(self, path, **options))
