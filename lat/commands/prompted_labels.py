"""Label the images of every dataset with a promptable model: a label set that a configuration can name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lat.core.errors import InputError
from lat.core.files import sha256_of_file, sha256_of_json
from lat.core.label_space import LabelSpace
from lat.data.dataset import DetectionDataset
from lat.data.prompts import prompts_of_names, read_prompts
from lat.data.read_ahead import READERS
from lat.detectors.promptable.load import ALIASES, load_promptable
from lat.engine.jobs import Advance, in_shards, sizes_of, uncounted
from lat.labels.store.arrow import to_arrow
from lat.labels.written_boxes import table_of_rows
from lat.stages.pseudo_label import DETECTED_PER_BATCH
from lat.stages.shared.detection import Predictor, batches_of, image_batches
from lat.stages.shared.ensemble_labels import Members, ShardLabels
from lat.workspace.jobs import do_shards
from lat.workspace.label_shards import prepared_shards, work_folder
from lat.workspace.reading import reading_threads
from lat.workspace.run_folder import at_work_in, url_folder
from lat.workspace.workspace import Workspace

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MOST_LABELS = 100  # of an image


@dataclass(frozen=True)
class Prompting:
    """What a promptable model is asked for, as plain values.

    Attributes:
        name: of the label set and its label space.
        model: see `load_promptable`.
        prompts: the text of each class.
        min_score: lowest score of a label.
    """

    name: str
    model: str
    prompts: Mapping[str, str]
    min_score: float

    @property
    def space(self) -> LabelSpace:
        return LabelSpace.from_names(self.name, tuple(self.prompts))

    def sha256(self) -> str:
        """Hash of all that labels depend on, beside the images."""
        return sha256_of_json([self.model, _sha256_of_folder(self.model), dict(self.prompts), self.min_score])


def prompting(workspace: Workspace, model: str, prompts: Path | None, name: str | None, min_score: float) -> Prompting:
    """What to ask of the images of a run, and under which name.

    Args:
        workspace: the run whose images are labelled.
        model: see `load_promptable`.
        prompts: YAML file {class: text}; None for the class names of all datasets.
        name: of the label set; None for the model's.
        min_score: lowest score of a label.

    Raises:
        InputError: if the file or an option is wrong, or the name is that of a dataset.
    """
    asked = prompting_alone(model, prompts, name, min_score)
    if asked.name in workspace.names:
        raise InputError("--name", f"'{asked.name}' is the name of a dataset", "choose another one")
    if prompts is None:
        asked = replace(asked, prompts=prompts_of_names([workspace.data.space(dataset) for dataset in workspace.names]))
    return asked


def prompting_alone(model: str, prompts: Path | None, name: str | None, min_score: float) -> Prompting:
    """The same without a run; nothing is asked for without `prompts`.

    Raises:
        InputError: if the file or an option is wrong.
    """
    if not 0.0 <= min_score <= 1.0:
        raise InputError("--min-score", f"is {min_score}", "choose a number from 0 to 1")
    if name is None:
        name = Path(model).name.replace("-", "_").replace(".", "_")
    if not name.replace("_", "").isalnum():
        raise InputError("--name", f"'{name}' has other characters than letters, digits and _", "choose another one")
    return Prompting(name, model, {} if prompts is None else read_prompts(prompts), min_score)


def label_with_prompts(workspace: Workspace, asked: Prompting, datasets: Sequence[str] = ()) -> dict[str, Path]:
    """Label the training images of some datasets, or of all; what is up to date is left as it is.

    Returns:
        The labels file of each dataset: `label_sets/NAME/DATASET.json` in the run's folder.

    Raises:
        InputError: if a dataset is unknown, the model cannot be read, or another command is at work in the run's folder.
    """
    if url_folder(workspace.config.output_dir) is not None:
        raise InputError("output_dir", "is a URL", "label into a folder of this machine: output_dir=FOLDER")
    chosen = [workspace.data.settings_of(dataset).name for dataset in datasets or workspace.names]
    with at_work_in(workspace.config.output_dir):
        return {dataset: _label(workspace, asked, dataset) for dataset in chosen}


def _label(workspace: Workspace, asked: Prompting, dataset: str) -> Path:
    job = do_shards(workspace, prompted_shards, dataset=dataset, asked=asked, inputs=asked.sha256())
    workspace.processes.from_first(job.finish)
    return job.path


def prompted_shards(workspace: Workspace, *, dataset: str, asked: Prompting, inputs: str) -> PromptedShards:
    """The labels of the training images of a dataset; see `JobRecipe`."""
    root = workspace.paths.root
    path = root / "label_sets" / asked.name / f"{dataset}.json"
    per_batch = workspace.config.runtime.images_per_batch or DETECTED_PER_BATCH
    labeller = Labeller(asked, workspace.fabric, per_batch, reading_threads(workspace))
    return PromptedShards(workspace.data.train_part(dataset), path, work_folder(root, path), labeller, inputs)


@dataclass(frozen=True)
class Labeller:
    """What is asked, and who does it.

    Attributes:
        asked: the model and its prompts.
        fabric: the device.
        images_per_batch: images that the model sees at once.
        readers: threads that decode images.
    """

    asked: Prompting
    fabric: Fabric
    images_per_batch: int = DETECTED_PER_BATCH
    readers: int = READERS


class PromptedShards:
    """The labels of a promptable model on some images; see `ShardJob`.

    Args:
        part: the images.
        path: the labels file.
        folder: where its shards are kept.
        labeller: what is asked, and who does it.
        inputs: hash of what is asked.
    """

    is_preparation = False

    def __init__(self, part: DetectionDataset, path: Path, folder: Path, labeller: Labeller, inputs: str) -> None:
        self.part, self.path, self.labeller = part, path, labeller
        self.title = f"label {part.name} with {labeller.asked.name}"
        self.batches = in_shards(batches_of(range(len(part)), labeller.images_per_batch))
        self.sizes = sizes_of(self.batches)
        self.shards = prepared_shards(folder, part.labels, labeller.asked.space, inputs, self.batches)

    @cached_property
    def detector(self) -> Members:
        """The model, on the device."""
        asked = self.labeller.asked
        detector = load_promptable(asked.model, asked.space, tuple(asked.prompts.values()), asked.min_score)
        return Members([Predictor(detector, self.labeller.fabric)], mirrored=False)

    def is_done(self, shard: int) -> bool:
        return self.shards.has(shard)

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        asked, device = self.labeller.asked, self.labeller.fabric.device
        batches = self.batches[shard]
        labels = ShardLabels([(self.detector, asked.min_score)], MOST_LABELS)
        for images in image_batches(self.part, batches, device, self.labeller.readers):
            labels.add(images)
            advance(len(images))
        boxes, counts = labels.kept(0, asked.space)
        first = batches[0].start
        rows = table_of_rows(self.part.labels, asked.space, boxes, counts, first_image=first)
        self.shards.write(shard, to_arrow(rows, first))
        return [self.shards.path(shard)]

    def finish(self) -> None:
        """Write the file from all shards, unless it is there."""
        written = None if self.shards.manifest is None else self.shards.manifest.file
        if written is None or not written.is_at(self.path):
            self.shards.export(self.path, self._info())

    def _info(self) -> dict[str, Any]:
        asked = self.labeller.asked
        model = ALIASES.get(asked.model, asked.model)
        return {"method": "prompted", "model": Path(model).name, "prompts": dict(asked.prompts), "min_score": asked.min_score}


def _sha256_of_folder(model: str) -> str:
    """Of the weights and the configurations in a folder; nothing for a model of the hub, whose name says what it is."""
    files = sorted(path for kind in ("*.safetensors", "*.bin", "*.json") for path in Path(model).glob(kind))
    return sha256_of_json([[path.name, sha256_of_file(path)] for path in files])
