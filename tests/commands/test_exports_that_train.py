"""What `lat export RUN` writes, trained on by the packages that it is written for, where they are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny import draw_tiny, labelled_workspace

from lat.commands.export_run import export_run
from lat.detectors.ultralytics.yolo_detector import load_ultralytics
from lat.labels.coco.read import read_labels
from lat.labels.table import LabelTable

CLASSES = ("car", "truck", "bus", "person", "rider", "bicycle", "motorcycle")
TRAINING_IMAGES = 6  # three of city and three of nu


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose target has three images and a source three more with a truck each, in `yolo/`, `coco/` and `voc/`."""
    folder = tmp_path_factory.mktemp("exports")
    workspace = labelled_workspace(draw_tiny(folder), folder / "run", {"nu": 0.7, "way": 0.3})
    for form in ("yolo", "coco", "voc"):
        export_run(workspace, form, folder / form)
    return folder


@pytest.fixture(scope="module")
def written(exports: Path) -> LabelTable:
    """The boxes that are trained on."""
    return read_labels(exports / "coco" / "annotations" / "instances_train.json", "city")


def test_ultralytics_trains_on_the_yolo_export(exports: Path, written: LabelTable, tmp_path: Path) -> None:
    pytest.importorskip("ultralytics", reason="ultralytics is an optional package that is not installed")
    load_ultralytics()
    from ultralytics import YOLO

    model, seen = YOLO("yolo11n.yaml"), []
    model.add_callback("on_train_start", lambda trainer: seen.extend((trainer.train_loader.dataset, trainer.test_loader.dataset)))
    chosen = {"epochs": 1, "imgsz": 64, "batch": 2, "workers": 0, "device": "cpu", "amp": False, "plots": False}
    model.train(data=str(exports / "yolo" / "data.yaml"), project=str(tmp_path), name="run", **chosen)
    train, val = seen
    assert (len(train), len(val)) == (TRAINING_IMAGES, 1)
    assert tuple(model.names.values()) == CLASSES
    found = [int(label) for one in train.labels for label in one["cls"].flatten()]
    assert sorted(found) == sorted(written.labels[~written.is_crowd].tolist())
    assert (tmp_path / "run" / "weights" / "last.pt").is_file()


def test_rf_detr_trains_on_the_yolo_export(exports: Path, tmp_path: Path) -> None:
    rfdetr = pytest.importorskip("rfdetr", reason="rfdetr is not installed")
    pytest.importorskip("pytorch_lightning", reason="rfdetr[train] is not installed")
    model = rfdetr.RFDETRNano(pretrain_weights=None, resolution=64, device="cpu")
    quick = {"multi_scale": False, "expanded_scales": False, "use_ema": False, "progress_bar": False, "run_test": False}
    model.train(dataset_dir=str(exports / "yolo"), output_dir=str(tmp_path), epochs=1, batch_size=2, num_workers=0, **quick)
    assert tuple(model.class_names) == CLASSES
    assert (tmp_path / "checkpoint_best_total.pth").is_file()


def test_torchvision_takes_a_step_on_the_coco_export(exports: Path, written: LabelTable) -> None:
    from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
    from torchvision.transforms.v2.functional import to_dtype, to_image

    folder, annotations = exports / "coco" / "images" / "train", exports / "coco" / "annotations" / "instances_train.json"
    dataset = wrap_dataset_for_transforms_v2(CocoDetection(folder, annotations), target_keys=("boxes", "labels"))
    pairs = [dataset[i] for i in range(len(dataset))]
    assert sum(len(target["boxes"]) for _, target in pairs) == written.num_boxes
    untrained: dict[str, Any] = {"weights": None, "weights_backbone": None}
    classes = 1 + max(written.space.category_ids)
    model = fasterrcnn_mobilenet_v3_large_320_fpn(num_classes=classes, min_size=64, max_size=96, **untrained)
    images, targets = zip(*pairs[:2], strict=True)
    losses = model([to_dtype(to_image(image), torch.float32, scale=True) for image in images], list(targets))
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_detectron2_takes_a_step_on_the_coco_export(exports: Path, written: LabelTable) -> None:
    reason = "needs Detectron2, see docs/detectron2.md"
    pytest.importorskip("detectron2.modeling", reason=reason, exc_type=ImportError)
    from detectron2.config import get_cfg
    from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_train_loader
    from detectron2.data.datasets import register_coco_instances
    from detectron2.modeling import build_model
    from detectron2.utils.events import EventStorage

    root = exports / "coco"
    for part in ("train", "val"):
        files = (str(root / "annotations" / f"instances_{part}.json"), str(root / "images" / part))
        register_coco_instances(f"ours_{part}", {}, *files)
    try:
        records = DatasetCatalog.get("ours_train")
        assert (len(records), len(DatasetCatalog.get("ours_val"))) == (TRAINING_IMAGES, 1)
        names = MetadataCatalog.get("ours_train").thing_classes  # sorted by category id
        found = [names[box["category_id"]] for one in records for box in one["annotations"]]
        assert sorted(found) == sorted(CLASSES[label] for label in written.labels)
        cfg = get_cfg()
        cfg.merge_from_list(["DATASETS.TRAIN", ("ours_train",), "SOLVER.IMS_PER_BATCH", 2, "DATALOADER.NUM_WORKERS", 0])
        cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.ROI_HEADS.NUM_CLASSES", len(CLASSES)])
        cfg.merge_from_list(["INPUT.MIN_SIZE_TRAIN", (64,)])
        with EventStorage():
            losses = build_model(cfg)(next(iter(build_detection_train_loader(cfg))))
        sum(losses.values()).backward()
        assert all(torch.isfinite(loss) for loss in losses.values())
    finally:
        for part in ("train", "val"):
            DatasetCatalog.remove(f"ours_{part}")
            MetadataCatalog.remove(f"ours_{part}")


def test_roboflow_uploads_the_yolo_export_with_classes(exports: Path) -> None:
    parser = pytest.importorskip("roboflow.util.folderparser", reason="roboflow is not installed")
    images = parser.parsefolder(str(exports / "yolo"))["images"]
    assert len(images) == TRAINING_IMAGES + 1
    names = yaml.safe_load((exports / "yolo" / "data.yaml").read_text())["names"]
    for image in images:
        assert image["annotationfile"]["file"] == image["file"].replace("images", "labels").replace(".png", ".txt")
        assert image["annotationfile"]["labelmap"] == names
