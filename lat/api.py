"""The Python interface: `lat.run`, `lat.transfer`, `lat.check`, `lat.export`, `lat.import_` and `lat.load_labels`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lat.config.load import Config, config_from, load_config
from lat.core.errors import InputError
from lat.engine.announce import speaking
from lat.labels.class_scores import dense_scores
from lat.labels.coco.read import read_labels
from lat.labels.provenance import ORIGINS
from lat.labels.table import LabelTable
from lat.pipeline.plan import ROUND
from lat.pipeline.run import run_stages
from lat.workspace.result_files import read_evaluation
from lat.workspace.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv

    from lat.commands.export import ExportSummary

ConfigLike = str | os.PathLike[str] | Mapping[str, Any] | Config
Overrides = Mapping[str, Any] | Sequence[str]


@dataclass(frozen=True, eq=False)
class ImageLabels:
    """The labels of one image, as arrays with the names and meanings of `supervision.Detections`.

    Attributes:
        image_id: the image's id in the labels file.
        file_name: the image's file, relative to its images folder.
        size_hw: height and width in pixels.
        xyxy: (N, 4) float32 corners, in pixels of the original image.
        confidence: (N,) float32 in [0, 1]; 1 for ground truth.
        class_id: (N,) int64, index into the class list, 0..K-1.
        data: more arrays of N rows: `class_name`, `category_id`, `annotation_id`, `iscrowd`; the provenance as `origin`,
            `origin_space` ("" for none) and `origin_id` (-1 for none); and `class_scores` (N, K) if the file has them.
    """

    image_id: int
    file_name: str
    size_hw: tuple[int, int]
    xyxy: np.ndarray
    confidence: np.ndarray
    class_id: np.ndarray
    data: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.xyxy)

    def detections(self) -> sv.Detections:
        """Convert to `supervision.Detections`; supervision must be installed."""
        import supervision as sv

        return sv.Detections(xyxy=self.xyxy, confidence=self.confidence, class_id=self.class_id, data=dict(self.data))


class Labels(Sequence[ImageLabels]):
    """The labels of one file, image by image in file order; `labels["a.png"]` is the image of that name."""

    def __init__(self, table: LabelTable) -> None:
        self.table = table

    def __repr__(self) -> str:
        return f"Labels({self.table.described()})"

    @property
    def path(self) -> Path:
        return self.table.path

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.table.space.class_names

    @property
    def category_ids(self) -> tuple[int, ...]:
        return self.table.space.category_ids

    @property
    def info(self) -> dict[str, Any]:
        """How the file was made, if it says so."""
        return self.table.info

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[ImageLabels]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, image: int | str) -> ImageLabels:  # type: ignore[override]
        """The image at an index, or with a file name.

        Raises:
            IndexError, KeyError: if there is none.
        """
        table = self.table
        if isinstance(image, str):
            if image not in table.file_names:
                raise KeyError(image)
            image = table.file_names.index(image)
        index = range(len(table))[image]
        rows = table.rows(index)
        height, width = table.sizes_hw[index].tolist()
        return ImageLabels(
            image_id=int(table.image_ids[index]),
            file_name=table.file_names[index],
            size_hw=(height, width),
            xyxy=table.boxes_xyxy[rows],
            confidence=table.scores[rows],
            class_id=table.labels[rows],
            data={name: column[rows] for name, column in self._data().items()},
        )

    def frame(self) -> pd.DataFrame:
        """A pandas data frame with one row per box; pandas must be installed."""
        import pandas as pd

        table = self.table
        per_image = np.repeat(np.arange(len(table)), np.diff(table.offsets))
        columns = {
            "image_id": table.image_ids[per_image],
            "file_name": np.array(table.file_names, dtype=object)[per_image],
            "height": table.sizes_hw[per_image, 0],
            "width": table.sizes_hw[per_image, 1],
            **dict(zip(("x1", "y1", "x2", "y2"), table.boxes_xyxy.T, strict=True)),
            "score": table.scores,
            "class_id": table.labels,
            **{name: column for name, column in self._data().items() if column.ndim == 1},
        }
        return pd.DataFrame(columns)

    def _data(self) -> dict[str, np.ndarray]:
        """Further columns (A, ...) of all annotations."""
        table = self.table
        columns = {
            "class_name": np.array(self.class_names)[table.labels],
            "category_id": table.space.to_category_ids(table.labels),
            "annotation_id": table.annotation_ids,
            "iscrowd": table.is_crowd,
        }
        if table.class_scores is not None:
            columns["class_scores"] = dense_scores(table.class_scores)
        names = {int(value): name for name, value in ORIGINS.items()}
        origins, spaces, ids = [""] * table.num_boxes, [""] * table.num_boxes, np.full(table.num_boxes, -1)
        if (found := table.provenance) is not None:
            origins = [names[value] for value in found.origin.tolist()]
            spaces, ids = [found.spaces[value] for value in found.space.tolist()], found.annotation_ids
        columns |= {"origin": np.array(origins, dtype=str), "origin_space": np.array(spaces, dtype=str), "origin_id": ids}
        return columns


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        output_dir: the folder with all files of the run; of a run at a URL, its copy on this machine.
        evaluation: the content of `evaluation.json`: rows by table (`transfer`, `agreement`, `downstream`).
        report: the HTML page.
        transferred: the labels file of each (source, target).
    """

    output_dir: Path
    evaluation: dict[str, list[dict[str, Any]]]
    report: Path
    transferred: dict[tuple[str, str], Path]

    def labels(self, source: str, target: str) -> Labels:
        """The labels of the images of `source` in the label space of `target`."""
        return load_labels(self.transferred[source, target])


def run(config: ConfigLike, overrides: Overrides = (), *, force: bool = False, quiet: bool = False) -> Run:
    """Run every stage that is not up to date, as `lat run` does.

    Args:
        config: a YAML file, or its content.
        overrides: settings that replace those of the configuration, as `{"lat.training.steps": 500}` or
            `["lat.training.steps=500"]`.
        force: run all stages, up to date or not.
        quiet: print nothing and show no progress.

    Raises:
        InputError: if the configuration or a file is wrong.
    """
    workspace = Workspace(_config(config, overrides))
    with speaking(quiet=quiet):
        run_stages(workspace, force=force)
    evaluation = read_evaluation(workspace.paths.evaluation)
    transferred = {pair: workspace.paths.transferred(*pair) for pair in workspace.transfers()}
    return Run(workspace.paths.root, evaluation, workspace.paths.report, transferred)


def transfer(
    config: ConfigLike, overrides: Overrides = (), *, force: bool = False, quiet: bool = False
) -> dict[tuple[str, str], Labels]:
    """Transfer labels: run the stages up to the transfer that are not up to date; return the labels of each (source, target).

    Takes the arguments of `run` and raises the same errors; evaluates nothing, trains no downstream detector, writes no report.
    """
    workspace = Workspace(_config(config, overrides))
    with speaking(quiet=quiet):
        run_stages(workspace, ROUND, force=force)
    return {pair: load_labels(workspace.paths.transferred(*pair), pair[1]) for pair in workspace.transfers()}


@dataclass(frozen=True)
class Check:
    """What `lat.check` found; true if there are no problems.

    Attributes:
        problems: what must be corrected, one line each.
        notes: what is worth knowing, one line each.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.problems


def check(config: ConfigLike, overrides: Overrides = (), *, quiet: bool = True) -> Check:
    """Look for problems in all images and annotation files of a run, as `lat check` does.

    Args:
        config, overrides: as for `run`.
        quiet: show no progress.

    Raises:
        InputError: if the configuration is wrong; what is wrong with files is in the result.
    """
    from lat.commands.check import find_problems

    with speaking(quiet=quiet):
        found = find_problems(_config(config, overrides))
    return Check(found.problems, found.notes)


def export(
    labels: str | os.PathLike[str],
    to: str,
    out: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    **options: Any,
) -> ExportSummary:
    """Write labels with their images in the format of another tool, as `lat export` does.

    Args:
        labels: a labels file; or a run, by its YAML file or folder, for all that a target trains on.
        to: the format: `yolo`, `coco`, `voc`, and for a labels file also `cvat`, `label-studio` and `fiftyone`.
        out: the folder to create.
        images: the folder of the images of a labels file.
        options: `min_score` and `copy`; for a run `target`; for a labels file what `ExportOptions` has.

    Returns:
        How many `images` and `boxes` were written, and in `losses` what the format cannot hold.

    Raises:
        InputError: as the command does.
    """
    from lat.commands.export import ExportOptions, export_files
    from lat.commands.export_run import export_run

    place = Path(labels)
    with speaking(quiet=True):
        if images is None:
            return export_run(Workspace(load_config(place)), to, Path(out), **options)
        return export_files(place, Path(images), to, Path(out), ExportOptions(**options))


def import_(
    form: str,
    root: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    splits: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    labels: str | os.PathLike[str] | None = None,
) -> tuple[Path, ...]:
    """Convert a dataset to COCO JSON, or bring back labels that were corrected in another tool, as `lat import` does.

    Args:
        form: the format, such as `yolo`; with `labels`, the tool: `cvat`, `label-studio` or `fiftyone`.
        root: the folder of the dataset; or what the tool has exported.
        out: the folder to write to; with `labels` the file, by default `NAME.reviewed.json` beside them.
        splits: which to import; by default the training split.
        settings: those of the format.
        labels: the labels file that was corrected.

    Returns:
        The labels files that were written.

    Raises:
        InputError: as the command does.
    """
    from lat.commands.import_corrections import import_corrections, reviewed_path
    from lat.commands.import_dataset import import_dataset

    with speaking(quiet=True):
        if labels is not None:
            import_corrections(form, Path(root), Path(labels), None if out is None else Path(out))
            return (reviewed_path(Path(labels)) if out is None else Path(out),)
        if out is None:
            raise InputError("out", "is missing", "name the folder to write to")
        chosen = [f"{key}={value}" for key, value in (settings or {}).items()]
        found = import_dataset(form, Path(root), Path(out), splits=splits, settings=chosen)
    return tuple(summary.labels for summary in found)


def load_labels(path: str | os.PathLike[str], name: str = "") -> Labels:
    """Read a COCO labels file of any origin.

    Args:
        path: the file.
        name: name of its label space; by default that of the file.

    Raises:
        InputError: if the file is missing or wrong; the message says what is wrong, and where.
    """
    path = Path(path)
    return Labels(read_labels(path, name or path.stem))


def _config(config: ConfigLike, overrides: Overrides) -> Config:
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    if isinstance(config, Config):
        if overrides:
            raise InputError(
                "overrides", "do not apply to a Config object, which is already resolved", "pass them when loading it"
            )
        return config
    if isinstance(config, Mapping):
        return config_from(config, overrides)
    return load_config(Path(config), overrides)
