"""Small galleries of real files, and the content of a report around them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from factories import coco_dict, label_space, labeled_boxes, write_coco

from lat.core.files import sha256_of_file
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.data.dataset import load_dataset
from lat.evaluation.box_doubt import doubt
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_labels
from lat.report.build import Gallery, ReportContent
from lat.report.pictures import relative_url

CITY = label_space("city", ("car", "truck"))
WAY = label_space("way", ("vehicle", "pedestrian"))
NASTY = "\u202e<script>alert('&\"')</script>\u2067"  # which also turns the direction of text
THREE_IN_A_ROW = ((2, 2, 10, 10), (20, 2, 10, 10), (34, 2, 10, 10))


def make_gallery(
    folder: Path,
    transferred: Sequence[LabeledBoxes],
    *,
    boxes_xywh: Sequence[Sequence[Sequence[float]]] = (THREE_IN_A_ROW,),
    pseudo: Sequence[LabeledBoxes] | None = None,
    truth: Sequence[LabeledBoxes] | None = None,
    spaces: tuple[LabelSpace, LabelSpace] = (CITY, WAY),
    file_name: str = "",
) -> Gallery:
    """A gallery of images of 48 x 32 pixels, by default one with three boxes in a row; `file_name` is the first's."""
    source, target = spaces
    document = coco_dict(boxes_xywh, space=source)
    if file_name:
        document["images"][0]["file_name"] = file_name
    dataset, _ = load_dataset(write_coco(folder, document, name="city"))
    tables = {}
    for name, boxes in (("pseudo", pseudo), ("transferred", transferred), ("truth", truth)):
        labels = [replace(image, class_scores=None) for image in boxes or [LabeledBoxes.empty(target)] * len(dataset)]
        came_from = [[{"origin": "ground_truth", "space": source.name, "annotation_id": 1}] * len(image) for image in labels]
        provenance = came_from if name == "transferred" else None
        write_labels(folder / f"{name}.json", dataset.labels, target, labels, info={}, provenance=provenance)
        tables[name] = read_labels(folder / f"{name}.json", target.name)
    return Gallery(
        source=dataset.name,
        target="way",
        dataset=dataset,
        pseudo=tables["pseudo"],
        transferred=tables["transferred"],
        doubt=doubt(tables["transferred"], tables["pseudo"], [dataset.labels, tables["pseudo"]]),
        labels_sha256=sha256_of_file(folder / "transferred.json"),
        truth=tables["truth"] if truth else None,
    )


def one_of_each(folder: Path) -> Gallery:
    """One box kept, one moved (IoU 0.8) with another class than its pseudo-label, one added, one dropped."""
    transferred = labeled_boxes(WAY, [[2, 2, 12, 12], [20, 2, 28, 12], [2, 20, 12, 30]], [0, 1, 0], [0.9, 0.8, 0.6])
    pseudo = labeled_boxes(WAY, [[20, 2, 30, 12]], [0], [0.6])
    truth = labeled_boxes(WAY, [[2, 2, 12, 12], [20, 2, 30, 12]], [0, 1])
    return make_gallery(folder, [transferred], pseudo=[pseudo], truth=[truth])


def content_of(*galleries: Gallery, report: Path | None = None) -> ReportContent:
    """A report around galleries; `report` is the folder that it is to be written to."""
    transfer = [
        {"source": "city", "target": "way", "method": method, "ap": ap, "ap50": ap, "per_class": {"vehicle": ap}, "images": 1}
        for method, ap in (("class_names", None), ("pseudo_label", 61.25), ("label_transfer", 81.5))
    ]
    transfer[2] |= {"ap_margin": 2.25, "ap50_margin": 1.75, "per_class_margin": {"vehicle": 3.5}}
    changes = {"kept": 1, "moved": 1, "added": 1, "dropped": 1, "class_changes": {"car": {"vehicle": 2}}}
    downstream = {"target": "way", "name": "", "detector": "torchvision", "method": "label_transfer", "strategy": "mixed"}
    return ReportContent(
        title="Street scenes",
        run={"seed": "0"},
        spaces=[CITY, WAY],
        counts={"city": (1, 3)},
        evaluation={
            "transfer": transfer,
            "agreement": [{"source": "city", "target": "way", **changes}],
            "downstream": [{**downstream, "ap": 47.9, "ap50": None}],
        },
        upstream={"city": {"ap": 55.5, "ap50": 77.7}, "way": {}},
        curves={"label transfer": [{"step": 20, "learning_rate": 0.02, "class": 0.5, "total": 0.5}]},
        galleries=galleries,
        labels_files={(one.source, one.target): relative_url(one.transferred.path, report) for one in galleries if report},
    )


def read_script(path: Path) -> Any:
    """The value that a data script hands to the page."""
    key, _, value = path.read_text(encoding="ascii").removeprefix("lat.receive(").partition(",")
    assert json.loads(key) == path.stem
    return json.loads(value.removesuffix(");\n"))
