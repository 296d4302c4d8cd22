"""CVAT for images 1.1: one XML file per part, scores and provenance as attributes, and the labels that CVAT asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from lat.data.dataset import DetectionDataset
from lat.formats.exports.columns import DOUBT, MIN_SCORE, remarks
from lat.formats.exports.layout import ExportFormat, Split, keep_names, require_xml_names, require_xml_texts

ATTRIBUTES = ("annotation_id", "score", "iscrowd", "origin", "origin_space", "origin_id", DOUBT, MIN_SCORE)
LABELS = "labels.json"


def write(folder: Path, splits: Sequence[Split]) -> None:
    """Write `PART.xml`, whose image names are relative to `images/PART`, and `labels.json`.

    Paste the latter into the raw label editor of a new task: CVAT drops attributes that its labels do not declare.

    Raises:
        InputError: if XML cannot represent a class name or a file name.
    """
    require_xml_names(splits[0])
    for split in splits:
        require_xml_texts(split)
    attributes = [
        {"name": name, "mutable": False, "input_type": "text", "default_value": "", "values": [""]} for name in ATTRIBUTES
    ]
    names = splits[0].dataset.space.class_names
    content = json.dumps([{"name": name, "attributes": attributes} for name in names], indent=1)
    (folder / LABELS).write_text(content + "\n", encoding="utf-8")
    for split in splits:
        root = Element("annotations")
        SubElement(root, "version").text = "1.1"
        root.append(_meta(split))
        for i in range(len(split.dataset)):
            root.append(_image(split, i))
        tree = ElementTree.ElementTree(root)
        ElementTree.indent(tree)
        tree.write(folder / f"{split.name}.xml", encoding="utf-8", xml_declaration=True)


def _meta(split: Split) -> Element:
    meta = Element("meta")
    task = SubElement(meta, "task")
    SubElement(task, "name").text = split.dataset.name
    SubElement(task, "size").text = str(len(split.dataset))
    SubElement(task, "mode").text = "annotation"
    labels = SubElement(task, "labels")
    for name in split.dataset.space.class_names:
        label = SubElement(labels, "label")
        SubElement(label, "name").text = name
        attributes = SubElement(label, "attributes")
        for attribute in ATTRIBUTES:
            one = SubElement(attributes, "attribute")
            values = {"name": attribute, "mutable": "False", "input_type": "text", "default_value": "", "values": ""}
            for key, value in values.items():
                SubElement(one, key).text = value
    return meta


def _image(split: Split, i: int) -> Element:
    table = split.dataset.labels
    height, width = table.sizes_hw[i].tolist()
    image = Element("image", id=str(i), name=table.file_names[i], width=str(width), height=str(height))
    for row in range(*table.rows(i).indices(table.num_boxes)):
        corners = (f"{value:.4f}" for value in table.boxes_xyxy[row].tolist())
        box = SubElement(image, "box", label=table.space.class_names[table.labels[row]], source="auto", occluded="0", z_order="0")
        box.attrib.update(zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True))
        said = {**remarks(table, row, split.doubts), MIN_SCORE: split.min_score}  # with each box, since CVAT keeps nothing else
        for name, value in said.items():
            SubElement(box, "attribute", name=name).text = str(value)
    return image


def losses(datasets: Sequence[DetectionDataset]) -> list[str]:
    """Class scores, and decimals of coordinates that CVAT rounds away."""
    lines = ["CVAT rounds boxes that it saves to 0.01 pixels"]
    if any(dataset.labels.class_scores is not None for dataset in datasets):
        lines.append("class scores are left out")
    return lines


FORMAT = ExportFormat(keep_names, write, losses)
