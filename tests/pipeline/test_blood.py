"""`configs/blood.yaml` on a few of its real images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import FEW_STEPS

from lat.commands.check import check_all
from lat.config.load import load_config
from lat.pipeline.run import run_stages
from lat.workspace.workspace import Workspace

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "blood.yaml"
DATA = ROOT.parent / "shared" / "data"
IMAGES = {"bccd": {"train": 3, "val": 1}, "bloodcell_aslan": {"": 8}}

pytestmark = pytest.mark.skipif(
    not all((DATA / name / "annotations.json").is_file() for name in IMAGES),
    reason="the blood cell images (shared/data beside the checkout) are not here",
)


def few_images(name: str, folder: Path) -> None:
    """The first images of each split, with their boxes, beside a link to the images."""
    content = json.loads((DATA / name / "annotations.json").read_text())
    images = []
    for split, count in IMAGES[name].items():
        images += [image for image in content["images"] if image.get("split", "") == split][:count]
    ids = {image["id"] for image in images}
    content["images"] = images
    content["annotations"] = [annotation for annotation in content["annotations"] if annotation["image_id"] in ids]
    folder.mkdir(parents=True)
    (folder / "images").symlink_to(DATA / name / "images")
    (folder / "annotations.json").write_text(json.dumps(content))


def test_the_parts_are_as_published() -> None:
    workspace = Workspace(load_config(CONFIG, [f"data_root={DATA}"]))
    sizes = {}
    for name in IMAGES:
        held_out = workspace.data.validation_part(name)
        assert held_out is not None
        sizes[name] = (len(workspace.data.train_part(name)), len(held_out))
    assert sizes["bccd"] == (205, 87)
    assert sum(sizes["bloodcell_aslan"]) == 100


def test_the_whole_job_runs_on_a_few_real_images(tmp_path: Path) -> None:
    for name in IMAGES:
        few_images(name, tmp_path / name)
    options = [option for option in FEW_STEPS if "report" not in option]
    config = load_config(CONFIG, [*options, f"data_root={tmp_path}", f"output_dir={tmp_path / 'run'}"])
    assert check_all(config)
    run_stages(Workspace(config), say=lambda line: None)
    platelets = json.loads((tmp_path / "run" / "transferred" / "bloodcell_aslan.bccd.json").read_text())
    assert [category["name"] for category in platelets["categories"]] == ["RBC", "WBC", "Platelets"]
    assert (tmp_path / "run" / "report" / "index.html").is_file()
