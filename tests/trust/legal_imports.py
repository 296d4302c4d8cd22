"""Legal files of the formats that `lat` imports and takes corrections in, each with what reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factories import coco_dict, draw_images, label_space, write_coco
from formats.importers.imported import found_in
from layouts import (
    rectangle,
    scalabel_frame,
    write_acdc,
    write_bdd100k,
    write_cityscapes,
    write_image,
    write_nuimages,
    write_shift,
    write_synscapes,
    write_waymo,
)

from lat.commands.export import ExportOptions, export_files
from lat.commands.import_corrections import CorrectionOptions, import_corrections
from lat.formats.importers import FORMATS
from lat.formats.importers.writer import ImportOptions, write_import
from lat.labels.coco.read import read_labels

SPACE = label_space("city", ["car", "größe <&>"], ids=[7, 3])

Read = Callable[[Path, Path], object]
"""Reads a file in a folder by way of another folder, which is empty; what the file says, to be compared."""


def document() -> dict[str, Any]:
    return coco_dict([[(2, 3, 10, 8.25), (20, 5, 6, 12)], [], [(4, 4, 5, 5)]], [[7, 3], [], [3]], space=SPACE)


@dataclass(frozen=True)
class Legal:
    """A legal file.

    Attributes:
        make: writes it, and what belongs to it, into a folder.
        file: its place there.
        form: json, xml, text, yaml or parquet.
        read: reads it.
        share: of the usual number of examples, for what is slow.
    """

    make: Callable[[Path], object]
    file: str
    form: str
    read: Read
    share: float = 1.0


def importing(name: str, **more: str) -> Read:
    """Import a folder, and check that what was written is sound and says what the importer has counted."""

    def read(folder: Path, out: Path) -> object:
        importer = FORMATS[name](folder, out, **more)
        written = out / "found.json"
        summary = write_import(importer, ImportOptions(), name, written)
        table = read_labels(written, "test")
        assert table.repairs == {}
        assert (len(table), table.num_boxes) == (summary.images, summary.boxes.total())
        return found_in(written), importer.class_list.space.categories(), list(summary.notes())

    return read


def correcting(tool: str, file: str) -> Read:
    """Bring corrections of `labels/annotations.json` back, and check that the result is sound."""

    def read(folder: Path, out: Path) -> object:
        labels, written = folder / "labels" / "annotations.json", out / "found.json"
        merged, notes = import_corrections(tool, folder / file, labels, written, CorrectionOptions(allow_deletions=True))
        assert read_labels(written, "test").num_boxes == merged.table.num_boxes
        return json.loads(written.read_text())["annotations"], notes

    return read


def exported(form: str) -> Callable[[Path], object]:
    def make(folder: Path) -> object:
        made = write_coco(folder / "labels", document())
        return export_files(Path(made.annotations), Path(made.images), form, folder / "made", ExportOptions(copy=True))

    return make


def make_label_studio(folder: Path) -> None:
    """Tasks as they come back: what was predicted has become what was annotated."""
    exported("label-studio")(folder)
    path = folder / "made" / "tasks_train.json"
    tasks = json.loads(path.read_text())
    for number, task in enumerate(tasks, start=1):
        task |= {"id": number, "annotations": [{"result": task.pop("predictions")[0]["result"], "was_cancelled": False}]}
    path.write_text(json.dumps(tasks))


def imported_export(form: str, file: str, kind: str, **more: str) -> Legal:
    """What `lat export` wrote, as the root of a dataset of that format."""
    read = importing(form, **more)
    return Legal(exported(form), f"made/{file}", kind, lambda folder, out: read(folder / "made", out))


def make_coco(folder: Path) -> None:
    draw_images(folder / "train", document())
    (folder / "train" / "_annotations.coco.json").write_text(json.dumps(document(), ensure_ascii=False), encoding="utf-8")


def make_kitti(folder: Path) -> None:
    for name in ("000001", "000002"):
        write_image(folder / "training" / "image_2" / f"{name}.png", (64, 32))
    labels = folder / "training" / "label_2"
    labels.mkdir()
    line = "Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
    (labels / "000001.txt").write_text(line.replace("387.63", "3.5").replace("423.81", "20").replace("181.54 ", "2 ") * 2)
    (labels / "000002.txt").write_text("DontCare -1 -1 -10 5 6 7 8 -1 -1 -1 -1000 -1000 -1000 -10\n")


def make_open_images(folder: Path) -> None:
    write_image(folder / "train" / "a1.jpg", (64, 32))
    (folder / "class-descriptions-boxable.csv").write_text('/m/01g,Car\n/m/02h,"Größe, gross"\n', encoding="utf-8")
    head = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    rows = "a1,xclick,/m/01g,1,0.1,0.5,0.25,0.75,0,0,0,0,0\na1,xclick,/m/02h,1,0.5,1,0.5,1,0,0,1,0,0\n"
    (folder / "train-annotations-bbox.csv").write_text(head + rows)


def make_waymo(folder: Path) -> None:
    write_waymo(folder, "a", {(1, 1): [(1, (20, 12, 10, 8))], (1, 2): [], (2, 1): [(2, (20, 12, 10, 8)), (4, (40, 9, 6, 6))]})


CITY = {"aachen_000000_000019": [("car", rectangle(2, 3, 20, 12)), ("person", rectangle(10, 8, 30, 30))]}
FRAMES = [scalabel_frame("a.jpg", [("car", (1, 2, 9, 12)), ("person", (20, 2, 24, 30))], size={"width": 64, "height": 32})]
VIDEO = [{**FRAMES[0], "videoName": "v"}]
IMPORTS = {
    "COCO, imported": Legal(make_coco, "train/_annotations.coco.json", "json", importing("coco", split="train")),
    "Cityscapes": Legal(
        lambda folder: write_cityscapes(folder, CITY),
        "gtFine/train/aachen/aachen_000000_000019_gtFine_polygons.json",
        "json",
        importing("cityscapes"),
    ),
    "BDD100K": Legal(
        lambda folder: write_bdd100k(folder, FRAMES, size=(64, 32)), "labels/det_20/det_train.json", "json", importing("bdd100k")
    ),
    "SHIFT": Legal(
        lambda folder: write_shift(folder, VIDEO, size=(64, 32)),
        "discrete/images/train/front/det_2d.json",
        "json",
        importing("shift"),
    ),
    "nuImages": Legal(
        lambda folder: write_nuimages(folder, {"a.jpg": [("vehicle.car", (1, 2, 9, 12))]}),
        "v1.0-train/object_ann.json",
        "json",
        importing("nuimages"),
    ),
    "nuImages, frames": Legal(
        lambda folder: write_nuimages(folder, {"a.jpg": [("vehicle.car", (1, 2, 9, 12))]}),
        "v1.0-train/sample_data.json",
        "json",
        importing("nuimages"),
    ),
    "ACDC": Legal(
        lambda folder: write_acdc(folder, {"GOPR0475_frame_000041_rgb_anon.png": [("car", (1, 2, 9, 12))]}),
        "gt_detection/fog/instancesonly_fog_train_gt_detection.json",
        "json",
        importing("acdc", conditions="fog"),
    ),
    "Synscapes": Legal(
        lambda folder: write_synscapes(folder, {1: [(26, (0.1, 0.2, 0.5, 0.7), 0.25)]}),
        "meta/1.json",
        "json",
        importing("synscapes"),
    ),
    "Waymo": Legal(make_waymo, "training/camera_box/a.parquet", "parquet", importing("waymo")),
    "Waymo, images": Legal(make_waymo, "training/camera_image/a.parquet", "parquet", importing("waymo")),
    "VOC": imported_export("voc", "Annotations/001.xml", "xml"),
    "VOC, classes": imported_export("voc", "labelmap.txt", "text"),
    "VOC, images": imported_export("voc", "ImageSets/Main/train.txt", "text"),
    "YOLO": imported_export("yolo", "labels/train/001.txt", "text"),
    "YOLO, data.yaml": imported_export("yolo", "data.yaml", "text"),
    "KITTI": Legal(make_kitti, "training/label_2/000001.txt", "text", importing("kitti")),
    "Open Images": Legal(make_open_images, "train-annotations-bbox.csv", "text", importing("open-images")),
    "Open Images, classes": Legal(make_open_images, "class-descriptions-boxable.csv", "text", importing("open-images")),
    "CVAT": Legal(exported("cvat"), "made/train.xml", "xml", correcting("cvat", "made/train.xml")),
    "Label Studio": Legal(
        make_label_studio, "made/tasks_train.json", "json", correcting("label-studio", "made/tasks_train.json")
    ),
    "FiftyOne": Legal(exported("fiftyone"), "made/samples.json", "json", correcting("fiftyone", "made/samples.json")),
}
