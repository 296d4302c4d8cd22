"""LAT in Detectron2 gives the numbers of LAT alone, from the same weights, and trains with Detectron2's trainer."""

from __future__ import annotations

import importlib
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("detectron2.modeling", reason="needs Detectron2, see docs/detectron2.md", exc_type=ImportError)

from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog
from detectron2.engine import DefaultTrainer
from detectron2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_HEADS_REGISTRY,
    build_backbone,
    build_model,
)
from drawn_spaces import CITY, JOINT, WAY, awaken, draw_all, make_cfg, randomise
from heads_in_two_processes import losses_of, write_losses

import lat.detectron2 as components
from lat.core.errors import InputError
from lat.core.origin import Origin
from lat.core.structures import Proposals
from lat.data.dataset import DetectionDataset
from lat.data.tensors import boxes_of
from lat.detectron2 import (
    LabelTransferMapper,
    LabelTransferRCNN,
    add_lat_config,
    build_train_loader,
    load_transfer_weights,
    read_lat_config,
    registered_datasets,
    set_label_spaces,
    transfer_weights,
)
from lat.detectron2.conversion import instances_from_boxes
from lat.labelling.labelling_settings import DecodeSettings
from lat.labelling.paper_form import transfer_labels
from lat.models.label_transfer_model import LabelTransferModel, TransferInput
from lat.models.model_settings import FusionSettings, HeadSettings, ProposalSettings
from lat.models.proposals import PrivilegedProposalGenerator

pytestmark = pytest.mark.detectron2
HEAD = HeadSettings(dim=16, pooled_size=2)
PROPOSALS = ProposalSettings(background_proposals=3)
DECODE = DecodeSettings(written_threshold=0.01, nms_iou=0.3, max_detections=3)
DOCS = Path(__file__).parents[2] / "docs" / "detectron2.md"


class Scene:
    """The drawn datasets, the inputs that the mapper makes of all their images, and a model with every part awake."""

    def __init__(self, folder: Path) -> None:
        self.datasets, self.pseudo_labels = draw_all(folder)
        with registered_datasets(self.datasets, self.pseudo_labels) as names:
            records = [record for name in names for record in DatasetCatalog.get(name)]
        self.inputs = [LabelTransferMapper(make_cfg(), False)(record) for record in records]
        self.images = [(dataset, i) for dataset in self.datasets for i in range(len(dataset))]
        self.model = build_model(make_cfg())
        awaken(self.model.backbone.frozen.network)
        self.alone = LabelTransferModel(JOINT, self.model.backbone.frozen.channels, HEAD, FusionSettings())
        randomise(self.alone)
        load_transfer_weights(self.model, self.alone.state_dict())

    def boxes(self, dataset: DetectionDataset, i: int) -> list[Any]:
        return [dataset.boxes(i), *(boxes_of(table, i) for table in self.pseudo_labels[dataset.name])]

    def proposals(self, is_train: bool) -> list[Proposals]:
        """As LAT alone makes them, from torch's global generator."""
        maker = PrivilegedProposalGenerator(JOINT, PROPOSALS)
        made = []
        for dataset, i in self.images:
            own, *others = self.boxes(dataset, i)
            if is_train:
                made.append(maker.propose_for_training(own, others, dataset.size_hw(i), torch.default_generator))
            else:
                made.append(maker.propose(own, others))
        return made

    def lat_inputs(self, proposals: list[Proposals], image_size: int = 0) -> list[TransferInput]:
        """As LAT alone makes them: each image through the frozen backbone by itself."""
        frozen = self.model.backbone.frozen
        frozen.image_size = image_size
        found = []
        for (dataset, i), one in zip(self.images, proposals, strict=True):
            size_hw = dataset.size_hw(i)
            found.append(TransferInput(frozen.feature_maps(dataset.image(i)[None])[0], frozen.scales(size_hw), size_hw, one))
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


def test_importing_registers_each_name_once() -> None:
    assert META_ARCH_REGISTRY.get("LabelTransferRCNN") is LabelTransferRCNN
    assert BACKBONE_REGISTRY.get("FrozenDINOv2") is components.FrozenDINOv2
    assert PROPOSAL_GENERATOR_REGISTRY.get("PrivilegedProposalGenerator") is components.PrivilegedProposalGenerator
    assert ROI_HEADS_REGISTRY.get("SemanticFeatureFusionROIHeads") is components.SemanticFeatureFusionROIHeads
    assert importlib.import_module("lat.detectron2") is components


@pytest.mark.parametrize("size_hw", [(28, 42), (30, 45)])
@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [
        ("BGR", [103.530, 116.280, 123.675], [1.0, 1.0, 1.0]),
        ("RGB", [123.675, 116.280, 103.530], [58.395, 57.120, 57.375]),
    ],
)
def test_maps_are_those_of_lat_in_either_channel_order(
    scene: Scene, channels: str, mean: list[float], std: list[float], size_hw: tuple[int, int]
) -> None:
    """As any meta-architecture calls a backbone: normalised, padded by ImageList to a multiple of 14 with the mean colour."""
    cfg = make_cfg()
    cfg.INPUT.FORMAT, cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = channels, mean, std
    frozen = scene.model.backbone.frozen
    frozen.image_size = 0
    backbone = components.FrozenDINOv2(frozen=frozen, pixel_mean=mean, pixel_std=std, input_format=channels)
    scene_parts = {"proposal_generator": None, "roi_heads": None, "pixel_mean": mean, "pixel_std": std}
    model = LabelTransferRCNN(backbone=backbone, joint=JOINT, target="", **scene_parts)
    rgb = torch.randint(256, (3, *size_hw), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = model.preprocess_image([{"image": rgb if channels == "RGB" else rgb.flip(0)}])
    assert [side % 14 for side in images.tensor.shape[2:]] == [0, 0]
    expected = frozen.feature_maps(rgb[None].float() / 255)
    torch.testing.assert_close(backbone(images.tensor)["dinov2"], expected, rtol=0, atol=1e-5)


def test_the_backbone_tells_its_channels_stride_and_divisibility() -> None:
    backbone = build_backbone(make_cfg())
    shape = backbone.output_shape()["dinov2"]
    assert (shape.channels, shape.stride, backbone.size_divisibility) == (384, 14, 14)
    assert backbone(torch.zeros(2, 3, 28, 42))["dinov2"].shape == (2, 384, 2, 3)


def test_the_backbone_never_trains_and_is_in_no_checkpoint(scene: Scene) -> None:
    scene.model.train()
    assert not scene.model.backbone.frozen.network.training
    assert not any(p.requires_grad for p in scene.model.backbone.frozen.network.parameters())
    assert not list(scene.model.backbone.parameters())
    assert all(key.startswith("roi_heads.") for key in scene.model.state_dict())


@pytest.mark.parametrize("is_train", [True, False])
def test_proposals_are_those_of_lat_in_every_column(scene: Scene, is_train: bool) -> None:
    model = scene.model.train(is_train)
    images = model.preprocess_image(scene.inputs)
    torch.manual_seed(1)
    found, losses = model.proposal_generator(images, {}, [model._labels(one) for one in scene.inputs])
    torch.manual_seed(1)
    for instances, expected in zip(found, scene.proposals(is_train), strict=True):
        assert set(instances.get_fields()) == {"proposal_boxes", *(f.name for f in fields(Proposals)[1:])}
        for name in (f.name for f in fields(Proposals)[1:]):
            torch.testing.assert_close(instances.get(name), getattr(expected, name), rtol=0, atol=0)
        torch.testing.assert_close(instances.proposal_boxes.tensor, expected.boxes_xyxy, rtol=0, atol=0)
    assert losses == {}
    has_background = bool((found[0].origin == Origin.BACKGROUND).any())
    assert has_background is is_train


@pytest.mark.parametrize("image_size", [0, 42])
def test_losses_and_gradients_are_those_of_lat(scene: Scene, image_size: int) -> None:
    """A batch of two sizes, with a crowd, and with images that have no ground truth."""
    model = scene.model.train()
    torch.manual_seed(2)
    inputs = scene.lat_inputs(scene.proposals(is_train=True), image_size)
    expected = scene.alone.losses(inputs, [dataset.boxes(i) for dataset, i in scene.images])
    torch.manual_seed(2)
    losses = model(scene.inputs)
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert loss.item() > 0.01
        torch.testing.assert_close(loss, expected[name], rtol=0, atol=1e-5)
    model.zero_grad()
    scene.alone.zero_grad()
    sum(losses.values()).backward()
    sum(expected.values()).backward()
    for (name, ours), (_, theirs) in zip(
        scene.model.roi_heads.model.named_parameters(), scene.alone.named_parameters(), strict=True
    ):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("image_size", [0, 42])
def test_transferred_boxes_are_those_of_lat(scene: Scene, image_size: int) -> None:
    """Each input names the space that is not its own."""
    model = scene.model.eval()
    proposals = scene.proposals(is_train=False)
    expected = transfer_labels(scene.alone, scene.lat_inputs(proposals, image_size), JOINT.names, DECODE)
    targets = ["way" if dataset.name == "city" else "city" for dataset, _ in scene.images]
    found = model([{**one, "target_space": target} for one, target in zip(scene.inputs, targets, strict=True)])
    assert sum(len(one["instances"]) for one in found) > 6
    for i, (one, target) in enumerate(zip(found, targets, strict=True)):
        instances, (boxes, rows) = one["instances"], expected[target][i]
        torch.testing.assert_close(instances.pred_boxes.tensor, boxes.boxes_xyxy, rtol=0, atol=1e-5)
        torch.testing.assert_close(instances.scores, boxes.scores, rtol=0, atol=1e-5)
        torch.testing.assert_close(instances.class_scores, boxes.class_scores, rtol=0, atol=1e-5)
        assert instances.pred_classes.tolist() == boxes.labels.tolist()
        assert instances.proposal_row.tolist() == rows.tolist()
        assert instances.proposal_annotation_id.tolist() == proposals[i].annotation_ids[rows].tolist()
        assert instances.proposal_space_index.tolist() == proposals[i].space_index[rows].tolist()


def test_the_configured_target_answers_where_an_input_names_none(scene: Scene) -> None:
    scene.model.backbone.frozen.image_size = 0
    model = scene.model.eval()
    with pytest.raises(InputError, match=r"001\.png: its target_space \(or MODEL\.LAT\.TARGET\) is ''; give one of city, way"):
        model(scene.inputs[:1])
    model.target = "way"
    try:
        (by_setting,), (by_input,) = model(scene.inputs[:1]), model([{**scene.inputs[0], "target_space": "way"}])
        assert by_setting["instances"].scores.tolist() == by_input["instances"].scores.tolist()
        assert by_setting["instances"].class_scores.shape[1] == len(WAY)
        (other,) = model([{**scene.inputs[0], "target_space": "city"}])
        assert other["instances"].class_scores.shape[1] == len(CITY)
    finally:
        model.target = ""


def test_answers_are_scaled_to_the_height_and_width_that_are_asked_for(scene: Scene) -> None:
    scene.model.backbone.frozen.image_size = 0
    one = {**scene.inputs[0], "target_space": "way"}
    (plain,), (doubled,) = (scene.model.eval()([{**one, "height": 30 * k, "width": 45 * k}]) for k in (1, 2))
    twice = 2 * plain["instances"].pred_boxes.tensor
    torch.testing.assert_close(doubled["instances"].pred_boxes.tensor, twice)
    assert doubled["instances"].image_size == (60, 90)


def test_heads_without_scales_take_the_stride_of_the_backbone(scene: Scene) -> None:
    """As another meta-architecture calls them; 30 x 45 pixels are 30/14 x 45/14 map cells."""
    scene.model.backbone.frozen.image_size = 0
    model = scene.model.eval()
    images = model.preprocess_image(scene.inputs[:1])
    features = model._features(images)
    proposals, _ = model.proposal_generator(images, features, [model._labels(scene.inputs[0])])
    (found,), losses = model.roi_heads(images, features, proposals, ["way"])
    (expected,) = model.inference([{**scene.inputs[0], "target_space": "way"}], do_postprocess=False)
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor)
    torch.testing.assert_close(found.scores, expected.scores)
    assert losses == {}


def test_losses_of_two_processes_average_to_those_of_the_whole_batch(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(write_losses, (tmp_path,), nprocs=2)
    apart = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for name, loss in losses_of((0, 1)).items():
        assert loss.item() > 0.01
        assert (apart[0][name] + apart[1][name]) / 2 == pytest.approx(loss.item(), rel=1e-5)


def test_an_input_without_ground_truth_is_refused(scene: Scene) -> None:
    image = {key: value for key, value in scene.inputs[0].items() if key != "instances"}
    with pytest.raises(InputError, match=r"001\.png: has no ground truth, which transfer needs; load it with"):
        scene.model.eval()([{**image, "target_space": "way"}])


def test_an_input_of_an_unknown_label_space_is_refused(scene: Scene) -> None:
    one = {**scene.inputs[0], "target_space": "way"}
    for change in ({"label_space": "nu"}, {"pseudo_labels": {"nu": instances_from_boxes(scene.datasets[0].boxes(0), (30, 45))}}):
        with pytest.raises(InputError, match=r"is 'nu'; give one of city, way"):
            scene.model.eval()([{**one, **change}])


def test_weights_go_from_lat_to_detectron2_and_back(scene: Scene) -> None:
    weights = scene.alone.state_dict()
    for back in (transfer_weights(scene.model), transfer_weights(scene.model.state_dict())):
        assert back.keys() == weights.keys()
        assert all(torch.equal(back[key], weights[key]) for key in weights)
    with pytest.raises(InputError, match=r"weights: do not fit the model: .*predictor\.classes\.bias"):
        load_transfer_weights(scene.model, {key: weights[key] for key in weights if key != "predictor.classes.bias"})


def test_every_setting_of_lat_is_a_key_with_its_default() -> None:
    cfg = get_cfg()
    add_lat_config(cfg)
    set_label_spaces(cfg, JOINT.spaces)
    settings = read_lat_config(cfg)
    assert (settings.proposals, settings.head) == (ProposalSettings(), HeadSettings())
    assert (settings.fusion, settings.decode) == (FusionSettings(), DecodeSettings())
    assert (settings.joint, settings.target) == (JOINT, "")
    cfg.MODEL.LAT.CAP, cfg.MODEL.LAT.DIM, cfg.MODEL.LAT.NMS_IOU, cfg.MODEL.LAT.JITTER_SCALE = "clamp", 8, 0.25, 0.2
    again = get_cfg()
    add_lat_config(again)
    again.merge_from_other_cfg(type(again).load_cfg(cfg.dump()))  # through YAML
    settings = read_lat_config(again)
    assert (settings.fusion.cap, settings.head.dim, settings.decode.nms_iou) == ("clamp", 8, 0.25)
    assert (settings.proposals.jitter_scale, settings.joint) == (0.2, JOINT)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("ATTENTION", "flash", r"MODEL\.LAT\.ATTENTION: is 'flash'; choose one of sff, standard, none"),
        ("DIM", 0, r"MODEL\.LAT\.DIM: is 0"),
        ("NMS_IOU", 2.0, r"MODEL\.LAT\.NMS_IOU: is 2\.0"),
        ("BACKBONE", "upstream", r"MODEL\.LAT\.BACKBONE: is 'upstream'; choose one of dinov2_vits14"),
        ("IMAGE_SIZE", 30, r"MODEL\.LAT\.IMAGE_SIZE: is 30, not a multiple"),
        ("TARGET", "nu", r"MODEL\.LAT\.TARGET: is 'nu'; choose one of city, way"),
        ("LABEL_SPACES", [], r"MODEL\.LAT\.LABEL_SPACES: is empty"),
        ("LABEL_SPACES", [{"NAME": "city"}], r"MODEL\.LAT\.LABEL_SPACES: has the entry"),
        ("LABEL_SPACES", [{"NAME": "city", "CLASS_NAMES": ["a", "a"]}], "class name a occurs more than once in the class list"),
    ],
)
def test_a_wrong_setting_is_refused_under_its_own_name(key: str, value: Any, line: str) -> None:
    with pytest.raises(InputError, match=line):
        read_lat_config(make_cfg(**{key: value}))


@pytest.mark.parametrize(
    ("key", "name"), [("BACKBONE", "build_resnet_backbone"), ("PROPOSAL_GENERATOR", "RPN"), ("ROI_HEADS", "Res5ROIHeads")]
)
def test_parts_that_are_not_ours_are_refused(key: str, name: str) -> None:
    cfg = make_cfg()
    cfg.MODEL[key].NAME = name
    with pytest.raises(InputError, match=rf"MODEL\.{key}\.NAME: is '{name}'; LabelTransferRCNN needs"):
        build_model(cfg)
    with pytest.raises(InputError, match=r"MODEL\.LAT: is not there; call lat\.detectron2\.add_lat_config"):
        LabelTransferRCNN(get_cfg())


class Trainer(DefaultTrainer):
    @classmethod
    def build_train_loader(cls, cfg: Any) -> Any:
        return build_train_loader(cfg)


def test_detectron2s_own_trainer_trains_it_and_lat_reads_the_checkpoint(tmp_path: Path) -> None:
    cfg = make_cfg()
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    Path(cfg.OUTPUT_DIR).mkdir()
    cfg.DATALOADER.NUM_WORKERS, cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER = 0, 4, 3
    cfg.SOLVER.STEPS, cfg.SOLVER.BASE_LR, cfg.SEED = (), 0.02, 0
    with registered_datasets(*draw_all(tmp_path)) as names:
        cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = tuple(names), ()
        trainer = Trainer(cfg)
        before = {key: value.clone() for key, value in transfer_weights(trainer.model).items()}
        trainer.train()
    log = json.loads((tmp_path / "output" / "metrics.json").read_text().splitlines()[-1])
    assert {"loss_class", "loss_box", "total_loss"} <= set(log)
    stored = torch.load(tmp_path / "output" / "model_final.pth", weights_only=True)["model"]
    model = LabelTransferModel(JOINT, 384, HEAD, FusionSettings())
    model.load_state_dict(transfer_weights(stored))
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert "predictor.classes.weight" in moved
    assert "box_head.layers.1.weight" in moved


def code_block(file_name: str) -> str:
    """The block on the page that begins with a file's name."""
    (block,) = re.findall(rf"```\w+\n# {re.escape(file_name)}\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    return block


def test_the_example_of_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Word for word, on drawn data in the places that it names; the options are those that it takes from the command line."""
    datasets, pseudo_labels = draw_all(tmp_path / "data")
    (tmp_path / "runs" / "example" / "pseudo_labels").mkdir(parents=True)
    for dataset in datasets:
        other = pseudo_labels[dataset.name][0]
        name = f"{dataset.name}.{other.space.name}.json"
        other.path.rename(tmp_path / "runs" / "example" / "pseudo_labels" / name)
    (tmp_path / "label_transfer.yaml").write_text(code_block("label_transfer.yaml"))
    options = "MODEL.DEVICE cpu MODEL.LAT.WEIGHTS none SOLVER.MAX_ITER 2 SOLVER.IMS_PER_BATCH 2 MODEL.LAT.DIM 16"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train_label_transfer.py", *options.split(), "DATALOADER.NUM_WORKERS", "0"])
    exec(compile(code_block("train_label_transfer.py"), "train_label_transfer.py", "exec"), {"__name__": "__main__"})
    assert re.search(r"001\.png: \d+ boxes in way", capsys.readouterr().out)
    weights = torch.load(tmp_path / "output" / "label_transfer.pt", weights_only=True)
    assert "fusion.query.weight" in weights
    assert not [name for name in DatasetCatalog if name.startswith("lat_")]
