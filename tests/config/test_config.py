"""Reading settings: what is accepted, and what a user is told otherwise."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from remote_files import cache, put

from lat.commands.draw_street_scenes import benchmark_config
from lat.config.load import Config, load_config
from lat.core import remote
from lat.core.errors import InputError
from lat.core.remote import as_path

__all__ = ["cache"]

CONFIGS = Path(__file__).parents[2] / "configs"
TWO_DATASETS = """
datasets:
  - {name: a, images: a/images, annotations: a.json}
  - {name: b, images: b/images, annotations: b.json}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_configuration_in_the_repository_can_be_read(path: Path) -> None:
    assert len(load_config(path).datasets) >= 2


def test_the_street_scenes_configuration_is_the_one_that_the_command_writes() -> None:
    written = (CONFIGS / "street_scenes.yaml").read_text(encoding="utf-8")
    data = "runs/street_scenes/data"
    assert written == benchmark_config(data_root=f"../{data}", output_dir="../runs/street_scenes", drawn=data)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_DATASETS + "seed: 3\nlat: {fusion: {attention: none}, head: {dim: 32}}\n")
    config = load_config(path, ["lat.head.dim=64", "lat.training.steps=7", "target=[b, a]"])
    assert (config.seed, config.lat.fusion.attention, config.lat.head.dim, config.lat.training.steps) == (3, "none", 64, 7)
    assert config.target_names == ("b", "a")
    assert config.lat.head.pooled_size == 7


def test_all_targets_are_all_datasets_and_the_first_dataset_lends_its_features(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_DATASETS)
    assert load_config(path).target_names == ("a", "b")
    assert load_config(path, ["target=b"]).backbone_dataset == "a"
    assert load_config(path, ["lat.backbone.upstream_dataset=b"]).backbone_dataset == "b"


def test_a_further_round_trains_a_detector_for_its_share_of_steps_at_a_quarter_of_the_learning_rate(tmp_path: Path) -> None:
    settings = ["rounds.steps_share=0.25", "upstream.training.steps=10", "training.log_every=7"]
    config = load_config(write(tmp_path, TWO_DATASETS), settings)
    training = config.round_training()
    assert (training.own.steps, training.own.learning_rate) == (2, 0.25 * config.upstream.training.learning_rate)
    assert training.shared.log_every == 7


def test_what_trainings_share_reaches_each_of_them_and_only_downstream_weights_are_averaged(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, TWO_DATASETS), ["training.warmup_steps=3", "downstream.ema_decay=0.5"])
    trainings = (config.upstream_training(), config.lat_training, config.downstream_training)
    assert [training.shared.warmup_steps for training in trainings] == [3, 3, 3]
    assert [training.own.steps for training in trainings] == [800, 1200, 600]
    assert [training.ema_decay for training in trainings] == [0.0, 0.0, 0.5]


def test_paths_may_use_the_data_root(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_DATASETS.replace("a/images", "'${data_root}/images'"))
    assert load_config(path, ["data_root=/somewhere"]).datasets[0].images == "/somewhere/images"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (TWO_DATASETS, ["lat.atention=none"], "there is no setting 'lat.atention'; did you mean 'fusion.attention'?"),
        (TWO_DATASETS, ["sead=1"], "there is no setting 'sead'; did you mean 'seed'?"),
        (TWO_DATASETS, ["lat.fusion.attention=both"], "lat.fusion.attention is 'both'; choose one of sff, standard, none"),
        (TWO_DATASETS, ["seed=x"], "'seed': Value 'x' of type 'str' could not be converted to Integer"),
        (TWO_DATASETS, ["seed"], "the option 'seed' is not key=value"),
        (TWO_DATASETS, ["target=c"], "target names 'c', and there is no such dataset; choose among a, b or all"),
        (TWO_DATASETS.replace("name: a", "name: aslan"), ["target=aslann"], "such dataset; did you mean 'aslan'?"),
        (
            TWO_DATASETS,
            ["lat.backbone.upstream_dataset=c"],
            "lat.backbone.upstream_dataset names 'c', and there is no such dataset",
        ),
        (TWO_DATASETS, ["upstream.model.detection_threshold=2"], "upstream.model.detection_threshold is 2.0"),
        (TWO_DATASETS, ["pseudo_label.threshold=-1"], "pseudo_label.threshold is -1.0"),
        (
            TWO_DATASETS,
            ["pseudo_label.scaled=[1.3,0]"],
            "pseudo_label.scaled has 0.0; choose numbers above 0, such as [1.3], without 1",
        ),
        (TWO_DATASETS, ["pseudo_label.scaled=[1]"], "pseudo_label.scaled has 1.0"),
        (TWO_DATASETS, ["pseudo_label.scaled=[1.3,1.3]"], "pseudo_label.scaled is [1.3, 1.3]; name each once"),
        (TWO_DATASETS, ["upstream.training.batch_size=0"], "upstream.training.batch_size is 0; must be at least 1"),
        (TWO_DATASETS, ["transfer.calibration=beta"], "transfer.calibration is 'beta'; choose one of platt, isotonic, none"),
        (TWO_DATASETS, ["downstream.ema_decay=1"], "downstream.ema_decay is 1.0; choose 0 or more and below 1"),
        (TWO_DATASETS, ["upstream.model.detector=yolo"], "upstream.model.detector is 'yolo'; choose one of torchvision"),
        (
            TWO_DATASETS,
            ["transfer.prior.method=cooccurence"],
            "transfer.prior.method is 'cooccurence'; choose one of consistent, learnt",
        ),
        (TWO_DATASETS, ["transfer.prior.method=table"], "transfer.prior.table is empty; name the YAML file of shares"),
        (TWO_DATASETS, ["transfer.prior.table=t.yaml"], "transfer.prior.table is given, but the method is consistent"),
        (TWO_DATASETS, ["transfer.prior.veto=1.5"], "transfer.prior.veto is 1.5; choose a number between 0 and 1"),
        (
            TWO_DATASETS,
            ["transfer.prior.sources=[a, c]"],
            "transfer.prior.sources names 'c', and there is no such dataset; choose among a, b",
        ),
        (TWO_DATASETS, ["rounds.labelling_ratio=[0.2, 0]"], "rounds.labelling_ratio has 0.0; choose numbers above 0"),
        (TWO_DATASETS, ["rounds.noise.mosaic=2"], "rounds.noise.mosaic is 2.0; choose a number from 0 to 1"),
        (
            TWO_DATASETS,
            ["rounds.noise.dropout=0.2", "upstream.model.detector=rtdetr", "lat.backbone.name=random"],
            "rounds.noise.dropout is 0.2, but upstream.model.detector is rtdetr; choose 0, or upstream.model.detector: torch",
        ),
        (TWO_DATASETS, ["rounds.count=-1"], "rounds.count is -1; choose 0 or more"),
        (
            TWO_DATASETS,
            ["upstream.model.detector=rtdetr"],
            "lat.backbone.name is upstream, but rtdetr detectors provide no feature maps",
        ),
        (TWO_DATASETS, ["rounds.steps_share=0"], "rounds.steps_share is 0.0; choose a number above 0, at most 1"),
        (TWO_DATASETS, ["rounds.steps_share=1.5"], "rounds.steps_share is 1.5; choose a number above 0, at most 1"),
        (
            TWO_DATASETS,
            ["rounds.labels.trained_threshold=2"],
            "rounds.labels.trained_threshold is 2.0; choose a number between 0 and 1",
        ),
        (
            TWO_DATASETS,
            ["rounds.labels.ignore_threshold=0.6"],
            "rounds.labels.ignore_threshold is 0.6; choose a number up to trained_threshold, 0.5",
        ),
        (TWO_DATASETS.replace("name: b", "name: a"), [], "datasets has two entries named 'a'"),
        (
            TWO_DATASETS.replace("b.json", "b.json, truth: {c: c.json}"),
            [],
            "datasets.b.truth names 'c', and there is no such dataset",
        ),
        (TWO_DATASETS.replace("name: b", "nam: b"), [], "did you mean 'name'?"),
        (f"{TWO_DATASETS}label_sets: [{{name: b, files: {{a: x}}}}]", [], "label_sets the name 'b' is taken"),
        (
            f"{TWO_DATASETS}label_sets: [{{name: c, files: {{d: x}}}}]",
            [],
            "label_sets.c.files names 'd', and there is no such dataset",
        ),
        (
            f"{TWO_DATASETS}label_sets: [{{name: c, files: {{a: x}}}}]",
            ["target=c"],
            "target names 'c', and there is no such dataset",
        ),
        (TWO_DATASETS.replace("images: b/images, ", ""), [], "images"),
        ("seed: 1", [], "datasets has 0 entries; name at least two"),
        ("datasets: 3", [], "'datasets'"),
        ("a: [", [], "is not valid YAML"),
        ("- a", [], "contains no settings"),
    ],
)
def test_mistakes_are_named_with_the_file_and_the_remedy(tmp_path: Path, text: str, options: list[str], message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_config(path, options)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such configuration file"):
        load_config(tmp_path / "none.yaml")


def test_every_section_has_a_default() -> None:
    for section in fields(Config):
        if isinstance(section.type, type) and is_dataclass(section.type):
            section.type()


@pytest.mark.parametrize(
    ("place", "executor", "message"),
    [
        (
            "s3://bucket/run",
            "local",
            "output_dir is s3://bucket/run, and runtime.executor is 'local', .*; set runtime.executor=",
        ),
        (
            "https://host/run",
            "ray",
            "output_dir is https://host/run, and a web server takes no files; name a folder, or an s3://",
        ),
        ("s3://", "ray", "s3:// is not a URL that names a file or folder"),
    ],
)
def test_a_url_to_write_to_needs_ray_and_a_store(place: str, executor: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_config(write(tmp_path, TWO_DATASETS), [f"output_dir={place}", f"runtime.executor={executor}"])


@pytest.mark.parametrize(("place", "executor"), [("s3://bucket/run", "ray"), ("file:///runs/lat", "local"), ("runs/a", "local")])
def test_where_a_run_may_write(place: str, executor: str, tmp_path: Path) -> None:
    config = load_config(write(tmp_path, TWO_DATASETS), [f"output_dir={place}", f"runtime.executor={executor}"])
    assert config.output_dir == place


def test_a_configuration_may_be_at_a_url_and_a_runs_folder_stands_for_its_own(cache: Path) -> None:
    settings = TWO_DATASETS + "output_dir: elsewhere\nruntime: {executor: ray}\n"
    for name in ("run/config.yaml", "mine.yaml"):
        put(f"memory://bucket/{name}", settings.encode())
    assert load_config(Path("memory://bucket/run")).output_dir == "memory://bucket/run"
    assert load_config(as_path("memory://bucket/run"), ["seed=3"]).seed == 3
    assert load_config(Path("memory://bucket/mine.yaml")).output_dir == "elsewhere"
    put("memory://bucket/run/config.yaml", settings.replace("output_dir", "seed: 5\noutput_dir").encode())
    remote.forget()
    assert load_config(as_path("memory://bucket/run")).seed == 5
    with pytest.raises(InputError, match=r"^memory://bucket/none: there is no such file, and no run's config.yaml below it"):
        load_config(Path("memory://bucket/none"))
