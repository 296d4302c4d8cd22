"""Label the images of every dataset with a promptable model: a label set that a configuration can name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lat.core.errors import InputError
from lat.core.files import sha256_of_file, sha256_of_json
from lat.core.label_space import LabelSpace
from lat.data.prompts import prompts_of_names, read_prompts
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


def prompting(workspace: Workspace, model: str, prompts: Path | None, name: str | None, min_score: float) -> Prompting:
    """What to ask, and under which name.

    Args:
        workspace: the run whose images are labelled.
        model: see `load_promptable`.
        prompts: YAML file {class: text}; None for the class names of all datasets.
        name: of the label set; None for the model's.
        min_score: lowest score of a label.

    Raises:
        InputError: if the file or an option is wrong, or the name is that of a dataset.
    """
    if not 0.0 <= min_score <= 1.0:
        raise InputError("--min-score", f"is {min_score}", "choose a number from 0 to 1")
    if name is None:
        name = Path(model).name.replace("-", "_").replace(".", "_")
    if not name.replace("_", "").isalnum():
        raise InputError("--name", f"'{name}' has other characters than letters, digits and _", "choose another one")
    if name in workspace.names:
        raise InputError("--name", f"'{name}' is the name of a dataset", "choose another one")
    spaces = [workspace.data.space(dataset) for dataset in workspace.names]
    texts = prompts_of_names(spaces) if prompts is None else read_prompts(prompts)
    return Prompting(name, model, texts, min_score)


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
        inputs = sha256_of_json([asked.model, _sha256_of_folder(asked.model), dict(asked.prompts), asked.min_score])
        return {dataset: _label(workspace, asked, dataset, inputs) for dataset in chosen}


def _label(workspace: Workspace, asked: Prompting, dataset: str, inputs: str) -> Path:
    job = do_shards(workspace, PromptedShards, dataset=dataset, asked=asked, inputs=inputs)
    workspace.processes.from_first(job.finish)
    return job.path


class PromptedShards:
    """The labels of a promptable model on the training images of a dataset; see `ShardJob`.

    Args:
        workspace: the run.
        dataset: the dataset whose images they label.
        asked: the model and its prompts.
        inputs: hash of both.
    """

    is_preparation = False

    def __init__(self, workspace: Workspace, *, dataset: str, asked: Prompting, inputs: str) -> None:
        self.workspace, self.asked = workspace, asked
        self.part = workspace.data.train_part(dataset)
        self.title = f"label {dataset} with {asked.name}"
        self.path = workspace.paths.root / "label_sets" / asked.name / f"{dataset}.json"
        batch_size = workspace.config.runtime.images_per_batch or DETECTED_PER_BATCH
        self.batches = in_shards(batches_of(range(len(self.part)), batch_size))
        self.sizes = sizes_of(self.batches)
        folder = work_folder(workspace.paths.root, self.path)
        self.shards = prepared_shards(folder, self.part.labels, asked.space, inputs, self.batches)

    @cached_property
    def detector(self) -> Members:
        """The model, on the run's device."""
        asked = self.asked
        detector = load_promptable(asked.model, asked.space, tuple(asked.prompts.values()), asked.min_score)
        return Members([Predictor(detector, self.workspace.fabric)], mirrored=False)

    def is_done(self, shard: int) -> bool:
        return self.shards.has(shard)

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        batches = self.batches[shard]
        labels = ShardLabels([(self.detector, self.asked.min_score)], MOST_LABELS)
        for images in image_batches(self.part, batches, self.workspace.fabric.device, reading_threads(self.workspace)):
            labels.add(images)
            advance(len(images))
        boxes, counts = labels.kept(0, self.asked.space)
        first = batches[0].start
        rows = table_of_rows(self.part.labels, self.asked.space, boxes, counts, first_image=first)
        self.shards.write(shard, to_arrow(rows, first))
        return [self.shards.path(shard)]

    def finish(self) -> None:
        """Write the file from all shards, unless it is there."""
        written = None if self.shards.manifest is None else self.shards.manifest.file
        if written is None or not written.is_at(self.path):
            self.shards.export(self.path, self._info())

    def _info(self) -> dict[str, Any]:
        asked = self.asked
        model = ALIASES.get(asked.model, asked.model)
        return {"method": "prompted", "model": Path(model).name, "prompts": dict(asked.prompts), "min_score": asked.min_score}


def _sha256_of_folder(model: str) -> str:
    """Of the weights and the configurations in a folder; nothing for a model of the hub, whose name says what it is."""
    files = sorted(path for kind in ("*.safetensors", "*.bin", "*.json") for path in Path(model).glob(kind))
    return sha256_of_json([[path.name, sha256_of_file(path)] for path in files])
