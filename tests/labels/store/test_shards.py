from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from factories import coco_dict, label_space, labeled_boxes, write_json
from pyarrow import parquet
from tables import assert_same_table

from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_of
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import stream_coco, write_labels
from lat.labels.store import LabelShards, from_arrow, stored_labels, to_arrow
from lat.labels.store.columns import from_column, to_column
from lat.labels.table import LabelTable
from lat.labels.written_boxes import table_of_boxes

SPACE = label_space("city", ["car", "truck", "bus"], ids=[9, 4, 6])
PARTS = (range(0, 3), range(3, 5), range(5, 9))


def image_list(tmp_path: Path, count: int = 9, size_hw: tuple[int, int] = (32, 48)) -> LabelTable:
    value = coco_dict([[]] * count, space=label_space("nu", ["x"]), size_hw=size_hw)
    value["images"].reverse()
    return read_labels(write_json(tmp_path / "images.json", value), "nu")


def found_on(images: LabelTable) -> list[LabeledBoxes]:
    """0 to 3 boxes per image; the first pokes out of its image by less than rounding may."""
    generator = torch.Generator().manual_seed(3)
    found = []
    for i, (height, width) in enumerate(images.sizes_hw.tolist()):
        corners = torch.rand(i % 4, 2, 2, generator=generator).sort(dim=1).values * torch.tensor([width, height]) * 0.9
        corners[:, 1] += 1
        boxes = corners.reshape(-1, 4)
        boxes[:1] = torch.tensor([-0.0004, 0, width + 0.0007, height])
        class_scores = torch.rand(len(boxes), len(SPACE), generator=generator)
        scores, labels = class_scores.max(dim=1)
        found.append(labeled_boxes(SPACE, boxes.tolist(), labels.tolist(), scores.tolist(), class_scores.tolist()))
    return found


def provenance_of(found: list[LabeledBoxes]) -> list[list[dict[str, Any]]]:
    """Names in another order in each part; one part without any prior."""
    entries = []
    for i, boxes in enumerate(found):
        of_image: list[dict[str, Any]] = []
        for j in range(len(boxes)):
            is_detection = (i + j) % 2
            origin = "pseudo_label" if is_detection else "ground_truth"
            of_image.append(
                {"origin": origin, "space": "zoo" if i < 3 else f"a{j}", "annotation_id": None if is_detection else i + 1}
            )
            if i not in PARTS[1] and j == 1:
                of_image[j]["prior"] = {"source_class": f"class {9 - i}", "factor": 1 / (i + 3), "kept": i % 2 == 0}
        entries.append(of_image)
    return entries


def shards_of(
    folder: Path, images: LabelTable, found: list[LabeledBoxes], provenance: list[list[dict[str, Any]]] | None = None
) -> LabelShards:
    shards = LabelShards(folder, images, SPACE)
    shards.prepare("inputs", PARTS)
    for number in reversed(shards.missing()):
        part = PARTS[number]
        some = slice(part.start, part.stop)
        table = table_of_boxes(images, SPACE, found[some], provenance and provenance[some], part.start)
        shards.write(number, to_arrow(table, part.start))
    return shards


@pytest.mark.parametrize("has_provenance", [True, False])
@pytest.mark.parametrize("size_hw", [(32, 48), (3000, 9000)])
def test_reading_parts_is_reading_the_file_and_the_file_is_the_one_written_at_once(
    size_hw: tuple[int, int], has_provenance: bool, tmp_path: Path
) -> None:
    images = image_list(tmp_path, size_hw=size_hw)
    found = found_on(images)
    provenance = provenance_of(found) if has_provenance else None
    info = {"method": "label_transfer", "threshold": 0.1}
    write_labels(tmp_path / "at_once.json", images, SPACE, found, info=info, provenance=provenance)

    shards = shards_of(tmp_path / "parts", images, found, provenance)
    sha256 = shards.export(tmp_path / "streamed.json", info)
    assert (tmp_path / "streamed.json").read_bytes() == (tmp_path / "at_once.json").read_bytes()
    assert sha256 == hashlib.sha256((tmp_path / "at_once.json").read_bytes()).hexdigest()

    from_json = read_labels(tmp_path / "streamed.json", "city", expect=SPACE)
    stored = stored_labels(tmp_path / "streamed.json", tmp_path / "parts", images, SPACE)
    assert stored is not None
    assert_same_table(stored, from_json)
    ids = [number for table in shards.tables() for number in table.annotation_ids.tolist()]
    assert ids == from_json.annotation_ids.tolist() == list(range(1, from_json.num_boxes + 1))


@pytest.mark.parametrize(("filled", "num_boxes"), [([], 0), ([2], 2), ([7], 3)])
def test_parts_without_boxes_read_as_the_file_does(filled: list[int], num_boxes: int, tmp_path: Path) -> None:
    images = image_list(tmp_path)
    found = [boxes if i in filled else LabeledBoxes.empty(SPACE) for i, boxes in enumerate(found_on(images))]
    assert sum(map(len, found)) == num_boxes
    shards = shards_of(tmp_path / "parts", images, found, provenance_of(found))
    shards.export(tmp_path / "labels.json", {})
    assert_same_table(replace(shards.read(), path=tmp_path / "labels.json"), read_labels(tmp_path / "labels.json", "city"))


def test_boxes_without_class_scores_have_none_after_reading(tmp_path: Path) -> None:
    images = image_list(tmp_path)
    found = [replace(boxes, class_scores=None) for boxes in found_on(images)]
    shards = shards_of(tmp_path / "parts", images, found)
    shards.export(tmp_path / "labels.json", {})
    assert shards.read().class_scores is None
    assert_same_table(replace(shards.read(), path=tmp_path / "labels.json"), read_labels(tmp_path / "labels.json", "city"))
    mixed = [*found[:2], *found_on(images)[2:]]
    with pytest.raises(ValueError, match="some boxes have class scores and others have none"):
        table_of_boxes(images, SPACE, mixed)


def test_rows_and_columns_of_a_part(tmp_path: Path) -> None:
    images = image_list(tmp_path)
    found = found_on(images)[3:5]  # 3 boxes and none
    entries: list[list[dict[str, Any]]] = [[{"origin": "person", "space": "nu", "annotation_id": 7}] * 3, []]
    rows = to_arrow(table_of_boxes(images, SPACE, found, entries, 3), 3)
    assert rows.schema.names == [
        *("image", "x1", "y1", "x2", "y2", "label", "score", "is_crowd", "class_scores", "space", "origin", "annotation_id")
    ]
    assert rows.column("image").to_pylist() == [3, 3, 3]
    assert rows.column("annotation_id").to_pylist() == [7, 7, 7]
    table = from_arrow(rows, images, SPACE, range(3, 5), first_id=11)
    assert (table.image_ids.tolist(), table.offsets.tolist()) == (images.image_ids[3:5].tolist(), [0, 3, 3])
    assert table.annotation_ids.tolist() == [11, 12, 13]
    assert boxes_of(table, 0).boxes_xyxy[0].tolist() == [0, 0, 48, 32]
    with pytest.raises(ValueError, match="not those of images 4 to 6"):
        from_arrow(rows, images, SPACE, range(4, 6))
    with pytest.raises(ValueError, match="in label space city, not nu"):
        from_arrow(rows, images, label_space("nu"), range(3, 5))


def test_columns_come_back_bit_by_bit_whatever_their_chunks() -> None:
    columns = {
        "numbers": np.array([7, -1, 2**15 - 1, 0, 5], np.int16),
        "flags": np.array([True, False, False, True, True]),
        "lists": np.arange(10, dtype=np.float32).reshape(5, 2) / 3,
        "slices": np.arange(15, dtype=np.float64).reshape(5, 3)[:, 1],
    }
    table = pa.table({name: to_column(column) for name, column in columns.items()})
    for name, column in columns.items():
        for found, wanted in (
            (table, column),
            (table.slice(1, 3), column[1:4]),
            (pa.concat_tables([table.slice(3), table]), np.concatenate([column[3:], column])),
            (table.slice(0, 0), column[:0]),
        ):
            back = from_column(found.column(name))
            assert (back.dtype, back.flags.writeable) == (column.dtype, True)
            np.testing.assert_array_equal(back, wanted)


def test_parts_are_written_and_read_without_pandas(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
import numpy as np
from lat.workspace.column_shards import ColumnShards
shards = ColumnShards(Path(sys.argv[1]), "inputs")
shards.write(0, {"numbers": np.arange(3), "flags": np.array([True, False, True]), "lists": np.zeros((3, 2))})
assert shards.has(0) and shards.read(1)["flags"].tolist() == [True, False, True]
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


def test_memory_of_an_export_does_not_grow_with_the_number_of_parts(tmp_path: Path) -> None:
    corners = np.tile(np.array([[1, 2, 30, 20]], np.float32), (800, 1))
    scores = np.full((800, len(SPACE)), 1 / 3, np.float32)
    boxes = labeled_boxes(SPACE, corners.tolist(), [0] * 800, [0.5] * 800, scores.tolist())

    def peak(parts: int) -> int:
        (tmp_path / str(parts)).mkdir()
        images = image_list(tmp_path / str(parts), parts)
        shards = LabelShards(tmp_path / str(parts) / "parts", images, SPACE)
        shards.prepare("inputs", [range(i, i + 1) for i in range(parts)])
        for i in range(parts):
            shards.write(i, to_arrow(table_of_boxes(images, SPACE, [boxes], first_image=i), i))
        tracemalloc.start()
        shards.export(tmp_path / str(parts) / "labels.json", {})
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(24) < 1.2 * peak(6)


# Which parts are there


def test_a_part_counts_only_if_complete_and_made_from_the_same(tmp_path: Path) -> None:
    images = image_list(tmp_path)
    found = found_on(images)
    shards = LabelShards(tmp_path / "parts", images, SPACE)
    with pytest.raises(ValueError, match="`prepare` was not called"):
        shards.write(0, to_arrow(table_of_boxes(images, SPACE, found)))
    with pytest.raises(ValueError, match="not all 9 images"):
        shards.prepare("inputs", PARTS[:2])
    shards_of(tmp_path / "parts", images, found)
    shards.prepare("inputs", PARTS)
    assert shards.missing() == []
    content = shards.path(1).read_bytes()
    shards.path(1).write_bytes(content[: len(content) // 2])
    shards.path(2).unlink()
    assert [shards.has(i) for i in range(3)] == [True, False, False]
    with pytest.raises(ValueError, match=r"part-00001.parquet: rows of images \[0, 9\]"):
        shards.write(1, to_arrow(table_of_boxes(images, SPACE, found)))
    shards.prepare("other inputs", PARTS)
    assert shards.missing() == [0, 1, 2]
    assert [path.name for path in shards.folder.iterdir()] == ["manifest.json"]


def test_a_part_that_is_not_the_exported_one_is_not_read(tmp_path: Path) -> None:
    images = image_list(tmp_path)
    path = tmp_path / "labels.json"
    shards = shards_of(tmp_path / "parts", images, found_on(images))
    shards.export(path, {})
    rows = parquet.read_table(shards.path(0))
    swapped = rows.rename_columns([{"x1": "y1", "y1": "x1"}.get(name, name) for name in rows.column_names])
    parquet.write_table(swapped.replace_schema_metadata(rows.schema.metadata), shards.path(0))  # sound, and of the same images
    assert shards.missing() == []
    assert stored_labels(path, shards.folder, images, SPACE) is None


def test_parts_of_other_images_or_another_space_are_not_taken(tmp_path: Path) -> None:
    images = image_list(tmp_path)
    path = tmp_path / "labels.json"
    shards_of(tmp_path / "parts", images, found_on(images)).export(path, {})
    assert stored_labels(path, tmp_path / "parts", images, SPACE) is not None
    renamed = replace(images, file_names=("other.png", *images.file_names[1:]))
    assert stored_labels(path, tmp_path / "parts", renamed, SPACE) is None
    assert stored_labels(path, tmp_path / "parts", images, label_space("city", ["car", "truck", "van"], ids=[9, 4, 6])) is None
    assert stored_labels(path, tmp_path / "nowhere", images, SPACE) is None


def test_a_file_that_a_person_changed_is_read_itself(tmp_path: Path) -> None:
    images = image_list(tmp_path)
    path = tmp_path / "labels.json"
    shards = shards_of(tmp_path / "parts", images, found_on(images))
    assert stored_labels(path, shards.folder, images, SPACE) is None  # there is none yet
    shards.export(path, {})
    os.utime(path, ns=(1, 1))  # as a copy has: the hash tells
    assert stored_labels(path, shards.folder, images, SPACE) is not None
    text = path.read_text()
    path.write_text(text.replace('"iscrowd":0', '"iscrowd":1', 1))  # the same size
    assert stored_labels(path, shards.folder, images, SPACE) is None
    path.write_text(text + "\n")
    assert stored_labels(path, shards.folder, images, SPACE) is None
    path.write_text(text)
    shards.path(0).unlink()
    assert stored_labels(path, shards.folder, images, SPACE) is None


# Streaming


def test_the_file_does_not_depend_on_how_it_is_split(tmp_path: Path) -> None:
    images = image_list(tmp_path)
    found = found_on(images)
    tables = [table_of_boxes(images, SPACE, [boxes], first_image=i) for i, boxes in enumerate(found)]
    hashes = {
        stream_coco(tmp_path / "one.json", images, SPACE, [table_of_boxes(images, SPACE, found)], info={}),
        stream_coco(tmp_path / "many.json", images, SPACE, iter(tables), info={}),
    }
    assert len(hashes) == 1
    assert len(json.loads((tmp_path / "many.json").read_text())["annotations"]) == sum(map(len, found)) == 12
    for parts in (tables[1:], tables[:-1], [tables[1], tables[0], *tables[2:]]):
        with pytest.raises(ValueError, match="images"):
            stream_coco(tmp_path / "wrong.json", images, SPACE, parts, info={})
    assert not (tmp_path / "wrong.json").exists()
