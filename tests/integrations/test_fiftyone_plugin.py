"""The operators of FiftyOne: their work on a stand-in of a dataset, and on the real package where it is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from factories import coco_dict, label_space, write_json
from fiftyone_database import open_fiftyone
from PIL import Image

from lat.commands.export import export_files
from lat.commands.import_corrections import reviewed_path
from lat.core.errors import InputError
from lat.labels.coco.read import read_labels

FOLDER = Path(__file__).parents[2] / "integrations" / "fiftyone"
SPACE = label_space(class_names=("car", "truck"), ids=(7, 3))


def load(name: str) -> ModuleType:
    """A module of the plugin as FiftyOne loads it: by its path, under a name of its own."""
    spec = spec_from_file_location(f"plugin_{name}", FOLDER / f"{name}.py")
    module = module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


work = load("work")


class Boxes:
    """Detections as FiftyOne has them, as far as the operators know them."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = json.loads(json.dumps(content))

    def to_dict(self) -> dict[str, Any]:
        return self.content


class Sample(dict[str, Any]):
    """A sample of FiftyOne, as far as the operators know it."""

    saved = 0

    @property
    def field_names(self) -> tuple[str, ...]:
        return tuple(self)

    def save(self) -> None:
        self.saved += 1


def write_labels(folder: Path, boxes: list[list[tuple[float, float, float, float]]], labels: list[list[int]]) -> Path:
    """Transferred labels of `front/a.png` and `c.png`, of 40 x 20."""
    value = coco_dict(boxes, labels, space=SPACE, size_hw=(20, 40))
    for image, name in zip(value["images"], ("front/a.png", "c.png"), strict=True):
        image["file_name"] = name
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20)).save(folder / "images" / name)
    for annotation in value["annotations"]:
        annotation["score"] = 0.5
    return write_json(folder / "nu.city.json", {**value, "info": {"method": "label_transfer"}})


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path, [[(4, 5, 10, 2.5), (20, 0, 20, 20)], [(1, 1, 8, 8)]], [[7, 3], [3]])


@pytest.fixture
def dataset(tmp_path: Path) -> list[Sample]:
    """Samples of the two images, and of another one."""
    return [Sample(filepath=str(tmp_path / "images" / name)) for name in ("front/a.png", "c.png", "other.png")]


def test_labels_are_shown_on_the_samples_of_their_images(labels: Path, dataset: list[Sample]) -> None:
    assert work.show_labels(dataset, labels, Boxes) == {"field": "transferred", "samples": 2, "boxes": 3}
    first = dataset[0]["transferred"].to_dict()["detections"][0]
    assert (first["label"], first["bounding_box"], first["annotation_id"]) == ("car", [0.1, 0.25, 0.25, 0.125], 1)
    assert [sample.saved for sample in dataset] == [1, 1, 0]
    assert "transferred" not in dataset[2]


def test_what_is_sent_back_is_what_a_person_corrected(labels: Path, dataset: list[Sample]) -> None:
    work.show_labels(dataset, labels, Boxes)
    _, truck = dataset[0]["transferred"].to_dict()["detections"]
    truck["label"] = "car"
    dataset[0]["transferred"].to_dict()["detections"].append({"label": "truck", "bounding_box": [0, 0, 0.5, 0.5]})
    dataset[1]["transferred"] = None  # never shown: it keeps its box
    found = work.send_back(dataset, labels)
    written = reviewed_path(labels)
    assert found == {"accepted": 1, "changed": 1, "added": 1, "deleted": 0, "written": str(written)}
    table = read_labels(written, "city")
    names = [[table.space.class_names[k] for k in table.labels[table.rows(i)]] for i in range(2)]
    assert (sorted(names[0]), names[1]) == (["car", "car", "truck"], ["truck"])
    assert table.scores[table.rows(1)].tolist() == [0.5]
    assert table.scores[table.rows(0)].tolist() == [1, 1, 1]


def test_many_deleted_boxes_need_a_word(labels: Path, dataset: list[Sample]) -> None:
    work.show_labels(dataset, labels, Boxes)
    del dataset[0]["transferred"].to_dict()["detections"][:]
    with pytest.raises(InputError, match="2 of the 3 boxes that were exported did not come back"):
        work.send_back(dataset, labels)
    assert not reviewed_path(labels).exists()
    assert work.send_back(dataset, labels, allow_deletions=True)["deleted"] == 2


def test_a_comparison_counts_disagreements_on_each_sample(labels: Path, dataset: list[Sample], tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = write_labels(tmp_path / "b", [[(4, 5, 10, 2.5), (20, 0, 20, 20)], []], [[7, 3], []])
    found = work.compare_labels(dataset, (labels, other), tmp_path / "out", tmp_path / "images")
    assert (found["matched"], found["samples"], found["written"]) == (2, 2, str(tmp_path / "out" / "index.html"))
    assert [sample.get("disagreements") for sample in dataset] == [0, 1, None]
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["matched"] == 2


def test_labels_of_other_images_are_refused(labels: Path) -> None:
    with pytest.raises(InputError, match="has no image that is a sample of this dataset"):
        work.show_labels([Sample(filepath="/elsewhere/x.png")], labels, Boxes)
    with pytest.raises(InputError, match="'transferred' is on no sample"):
        work.send_back([Sample(filepath="/elsewhere/x.png")], labels)


def test_the_plugin_lists_the_operators_that_it_has() -> None:
    listed = yaml.safe_load((FOLDER / "fiftyone.yml").read_text())
    assert listed["operators"] == ["show_labels", "compare_labels", "send_back"]
    assert all(callable(getattr(work, name)) for name in listed["operators"])


def test_fiftyone_opens_an_export_in_its_database_and_gives_it_back(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fiftyone = open_fiftyone(monkeypatch)
    export_files(labels, tmp_path / "images", "fiftyone", tmp_path / "out")
    legacy = fiftyone.types.LegacyFiftyOneDataset
    dataset = fiftyone.Dataset.from_dir(str(tmp_path / "out"), dataset_type=legacy)
    first, second = sorted(dataset, key=lambda sample: sample["image_id"])
    assert [one.label for one in first["transferred"].detections] == ["car", "truck"]
    second["transferred"].detections[0].label = "car"
    second.save()
    dataset.export(str(tmp_path / "back"), dataset_type=legacy, export_media=False)
    from lat.commands.import_corrections import import_corrections

    merged, _ = import_corrections("fiftyone", tmp_path / "back", labels)
    assert (merged.accepted, merged.changed, merged.deleted) == (2, 1, 0)


def test_fiftyone_runs_the_operators(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fiftyone = open_fiftyone(monkeypatch)
    from fiftyone.operators.executor import ExecutionContext
    from fiftyone.plugins.context import PluginContext
    from fiftyone.plugins.definitions import PluginDefinition

    plugin = PluginContext(PluginDefinition.from_disk(str(FOLDER / "fiftyone.yml")))
    plugin.register_all()
    assert not plugin.errors
    operators = {one.name: one for one in plugin.instances}
    assert list(operators) == ["show_labels", "compare_labels", "send_back"]
    dataset = fiftyone.Dataset()
    dataset.add_samples([fiftyone.Sample(filepath=str(tmp_path / "images" / name)) for name in ("front/a.png", "c.png")])

    def run(name: str, **params: Any) -> dict[str, Any]:
        context = ExecutionContext({"dataset_name": dataset.name, "params": params})
        assert operators[name].resolve_input(context).to_json()["type"]["properties"]
        assert operators[name].resolve_output(context).to_json()["type"]["properties"]
        with monkeypatch.context() as patch:
            patch.setattr(type(context.ops), "reload_dataset", lambda self: None)  # there is no App
            return operators[name].execute(context)

    assert run("show_labels", labels=str(labels))["boxes"] == 3
    dataset.reload()
    sample = dataset.match({"file_name": "c.png"}).first()
    sample["transferred"].detections[0].label = "car"
    sample.save()
    found = run("send_back", labels=str(labels))
    assert (found["accepted"], found["changed"]) == (2, 1)
    found = run("compare_labels", first=str(labels), second=found["written"], out=str(tmp_path / "compared"))
    assert (found["matched"], Path(found["written"]).name) == (3, "compare.json")
    assert run("show_labels", labels=str(tmp_path / "none.json"))["message"].startswith("error: ")
