"""Find the images and annotations of a dataset in the folder or archive in which it was downloaded."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

from lat.commands.import_dataset import import_dataset
from lat.core.archives import DAMAGED
from lat.core.documents import read_yaml
from lat.core.errors import InputError, looked_for
from lat.core.files import is_of_files, refused
from lat.core.regular_files import open_regular
from lat.core.remote import as_path, is_file
from lat.data.data_settings import DatasetSettings
from lat.data.dataset import existing_folder

__all__ = ["DatasetSettings", "check_file", "check_folder", "check_name", "found_dataset"]

IMPORTED = Path("data/imported")
"""Where what is not COCO JSON is converted to."""

MOST_GROWTH, SMALL_ARCHIVE_BYTES = 20, 100_000_000
"""An archive may unpack to this multiple of its size, and to this many bytes in any case: images hardly shrink in one."""

_ROBOFLOW = "_annotations.coco.json"
_LAYOUTS = (
    f"train/{_ROBOFLOW} (Roboflow), annotations/instances_train*.json beside the folder of its images (COCO), data.yaml (YOLO), "
    "or one JSON file beside images/"
)


def found_dataset(name: str, place: Path) -> DatasetSettings:
    """The entry of a dataset that lies in a folder, or in a ZIP archive that is unpacked beside it, in a layout that is known.

    A YOLO dataset is converted to `data/imported/NAME/`; its images stay where they are.

    Raises:
        InputError: if there is nothing, nothing known, or an archive that is damaged or unpacks to far more than it holds.
    """
    folder = _unpacked(place) if place.suffix.lower() == ".zip" else place
    if folder.name == "data.yaml":
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(place, f"there is no such folder{looked_for(place)}", "check the path")
    for root in (folder, *sorted(child for child in folder.iterdir() if child.is_dir())):  # archives often hold one folder
        if found := _roboflow(name, root) or _coco(name, root) or _yolo(name, root) or _plain(name, root):
            return found
    raise InputError(folder, f"holds no dataset in a known layout: {_LAYOUTS}", "write NAME=IMAGES,ANNOTATIONS")


def check_name(taken: Collection[str], name: str) -> None:
    """Raise an `InputError` unless this can be the name of one more dataset."""
    DatasetSettings(name, "images", "annotations")
    if name in taken:
        raise InputError("name", f"{name} is taken", "choose another")


def check_folder(text: str) -> None:
    """Raise an `InputError` unless there is a folder of this path or URL."""
    existing_folder(as_path(text))


def check_file(text: str) -> None:
    """Raise an `InputError` unless there is a file of this path or URL."""
    if not is_file(as_path(text)):
        raise InputError(text, f"there is no such file{looked_for(text)}", "check the path")


def _roboflow(name: str, root: Path) -> DatasetSettings | None:
    train, valid = root / "train" / _ROBOFLOW, root / "valid" / _ROBOFLOW
    if not train.is_file():
        return None
    held_out = (str(valid), str(valid.parent)) if valid.is_file() else ("", "")
    return DatasetSettings(name, str(train.parent), str(train), held_out[0], validation_images=held_out[1])


def _coco(name: str, root: Path) -> DatasetSettings | None:
    """The first file of training images whose folder is there, and that of validation images with the same ending."""
    for train in sorted((root / "annotations").glob("instances_train*.json")):
        for images in _folders(root, train):
            val = train.with_name(train.name.replace("_train", "_val"))
            val_images = next(_folders(root, val), None) if val.is_file() else None
            held_out = ("", "") if val_images is None else (str(val), "" if val_images == images else str(val_images))
            return DatasetSettings(name, str(images), str(train), held_out[0], validation_images=held_out[1])
    return None


def _folders(root: Path, labels: Path) -> Iterator[Path]:
    part = labels.stem.removeprefix("instances_")
    return (folder for folder in (root / part, root / "images" / part, root / "images") if folder.is_dir())


def _yolo(name: str, root: Path) -> DatasetSettings | None:
    file = root / "data.yaml"
    if not file.is_file():
        return None
    content = read_yaml(file, dict)
    splits = [split for split in ("train", "val") if content.get(split)]
    if len(splits) == 2 and content["train"] == content["val"]:
        splits = ["train"]
    out = IMPORTED / name
    import_dataset("yolo", root, out, splits=splits)
    return DatasetSettings(name, str(root), str(out / "train.json"), str(out / "val.json") if "val" in splits else "")


def _plain(name: str, root: Path) -> DatasetSettings | None:
    files, images = sorted(root.glob("*.json")), root / "images"
    return DatasetSettings(name, str(images), str(files[0])) if len(files) == 1 and images.is_dir() else None


def _unpacked(archive: Path) -> Path:
    """The folder beside an archive that holds what is in it; it is unpacked whole or not at all."""
    folder = archive.with_suffix("")
    if folder.is_dir():
        return folder
    partial = folder.with_name(f".{folder.name}.part")
    try:
        with open_regular(archive) as file, zipfile.ZipFile(file) as content:
            total = sum(entry.file_size for entry in content.infolist())
            if total > max(SMALL_ARCHIVE_BYTES, MOST_GROWTH * archive.stat().st_size):
                raise InputError(archive, f"unpacks to {total / 1e9:.1f} GB, far more than it holds", "unpack it yourself")
            shutil.rmtree(partial, ignore_errors=True)
            content.extractall(partial)  # which leaves out `..`, roots and links
        partial.rename(folder)
    except FileNotFoundError:
        raise InputError(archive, f"there is no such file{looked_for(archive)}", "check the path") from None
    except (*DAMAGED, OSError) as error:
        if isinstance(error, OSError) and is_of_files(error):  # a full disk is no fault of the archive
            raise refused(error, folder) from None
        raise InputError(archive, f"cannot be unpacked ({error})", "download it again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
