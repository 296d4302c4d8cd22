"""The sections of a run's settings that belong to stages; those of classes stand beside their classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from lat.baselines.label_unification import LabelUnificationSettings
from lat.baselines.lgpl_pairs import LgplSettings
from lat.baselines.student_teacher import StudentTeacherSettings
from lat.core.errors import InputError
from lat.data.augment.noise import NoiseSettings
from lat.data.augment.transforms import AugmentationSettings
from lat.data.training_labels import WeighingSettings
from lat.detectors.settings import DETECTORS, TRANSFORMERS_DETECTORS, DetectorSettings
from lat.detectors.ultralytics.yolo_detector import YoloSettings
from lat.engine.sampling import Reserved
from lat.engine.trainer import TrainSettings
from lat.labelling.calibration import CalibrationSettings
from lat.labelling.filters import FilterSettings
from lat.labelling.keep_and_fuse import DecodeSettings, FuseSettings
from lat.models.backbones.frozen import BackboneSettings
from lat.models.feature_fusion import FusionSettings
from lat.models.label_transfer_model import HeadSettings
from lat.models.proposals import ProposalSettings

Part = TypeVar("Part")


def part_of(settings: Any, kind: type[Part]) -> Part:
    """The fields of `settings` that belong to the dataclass `kind`, from which its class inherits."""
    return kind(**{field.name: getattr(settings, field.name) for field in fields(kind)})  # type: ignore[arg-type]


@contextmanager
def _section(name: str) -> Iterator[None]:
    """Errors of the settings within name the section too."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}.{error.where}", error.what, error.remedy) from None


@dataclass(frozen=True)
class UpstreamSettings(DetectorSettings):
    """Section `upstream`: the detector that is trained on each dataset."""

    training: TrainSettings = field(default_factory=lambda: TrainSettings(steps=400, learning_rate=4e-3))
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def __post_init__(self) -> None:
        with _section("upstream"):
            super().__post_init__()


@dataclass(frozen=True)
class PseudoLabelSettings:
    """Section `pseudo_label`: which detections of an upstream detector become pseudo-labels."""

    score_threshold: float = 0.3  # detections below it are not kept, nor labels of outside label sets
    nms_iou: float = 0.5  # IoU at which the lower of two boxes of one class is suppressed
    max_detections: int = 100  # most pseudo-labels of one space on one image
    batch_size: int = 4  # images a batch; each batch is decoded once for all detectors
    filter: FilterSettings = field(default_factory=FilterSettings)  # which of them are kept, from the look of all of a space

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_iou"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"pseudo_label.{name}", f"is {getattr(self, name)}", "choose a number between 0 and 1")
        for name in ("max_detections", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"pseudo_label.{name}", f"is {getattr(self, name)}", "choose 1 or more")


@dataclass(frozen=True)
class LabelTransferSettings(BackboneSettings, ProposalSettings, HeadSettings, FusionSettings):
    """Section `lat`: the label-transfer model and its training."""

    upstream_dataset: str = ""  # with `backbone: upstream`, whose detector; empty for the first dataset's
    horizontal_flip: float = 0.5  # share of training images that are mirrored
    training: TrainSettings = field(default_factory=lambda: TrainSettings(steps=1200, learning_rate=1e-3))

    def __post_init__(self) -> None:
        for base in (BackboneSettings, ProposalSettings, HeadSettings, FusionSettings):
            base.__post_init__(self)
        if not 0.0 <= self.horizontal_flip <= 1.0:
            raise InputError("lat.horizontal_flip", f"is {self.horizontal_flip}", "choose a share between 0 and 1")


@dataclass(frozen=True)
class TransferSettings(CalibrationSettings, FuseSettings, DecodeSettings):
    """Section `transfer`: how the model's output becomes labels."""

    batch_size: int = 16  # images a batch
    filter: FilterSettings = field(default_factory=FilterSettings)  # which labels are kept, from the look of all of a transfer

    def __post_init__(self) -> None:
        for base in (CalibrationSettings, FuseSettings, DecodeSettings):
            base.__post_init__(self)
        if self.batch_size < 1:
            raise InputError("transfer.batch_size", f"is {self.batch_size}", "choose 1 or more")


@dataclass(frozen=True)
class RoundsSettings:
    """Section `rounds`: doing everything again with what has been transferred.

    In each further round the detector of every target is trained on with its own ground truth and the labels transferred to it,
    then its pseudo-labels are made anew, the label-transfer model is trained anew, and labels are transferred with it.
    """

    count: int = 1  # further rounds; 0 for none
    steps_share: float = 0.5  # steps for which a detector is trained on, as a share of `upstream.training.steps`
    learning_rate_share: float = 0.25  # learning rate, likewise
    own_share: float = 0.5  # share of the target's own images in each batch of its detector, at least one image
    labels: WeighingSettings = field(default_factory=WeighingSettings)  # which transferred labels are trained on
    labelling_ratio: list[float] = field(
        default_factory=list
    )  # in round 1, 2, ... (the last holds on): of labels that are trained
    # on, only the surest, as this share of the target's boxes of each class an image; the rest is don't-care; empty for all
    noise: NoiseSettings = field(default_factory=NoiseSettings)  # of the images on which detectors are trained on

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InputError("rounds.count", f"is {self.count}", "choose 0 or more")
        for ratio in self.labelling_ratio:
            if not 0.0 < ratio < float("inf"):
                raise InputError("rounds.labelling_ratio", f"has {ratio}", "choose numbers above 0, such as [0.2, 0.5]")
        for name in ("steps_share", "learning_rate_share", "own_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise InputError(f"rounds.{name}", f"is {getattr(self, name)}", "choose a number above 0, at most 1")

    def training(self, first: TrainSettings) -> TrainSettings:
        """How a detector is trained on in a further round, if `first` is how it was trained before."""
        steps = max(1, round(self.steps_share * first.steps))
        return replace(first, steps=steps, learning_rate=self.learning_rate_share * first.learning_rate)

    def ratio_of(self, number: int) -> float | None:
        """The labelling ratio of round `number`, from 1; None where all labels are trained on."""
        return self.labelling_ratio[min(number, len(self.labelling_ratio)) - 1] if self.labelling_ratio else None

    def noise_of(self, number: int) -> NoiseSettings:
        """The noise of round `number`, from 1."""
        return self.noise.widened(number - 1)

    def described(self, number: int) -> dict[str, Any]:
        """What the training of detectors in round `number` depends on, as plain types."""
        of_round = {"count": None, "labelling_ratio": self.ratio_of(number), "noise": asdict(self.noise_of(number))}
        return {**asdict(self), **of_round}


@dataclass(frozen=True)
class EvaluationSettings:
    """Section `evaluation`: which transferred labels count where no curve over all scores is drawn."""

    score_threshold: float = 0.5  # labels below it are left out of agreement figures and pictures; AP takes all that are written

    def __post_init__(self) -> None:
        if not 0.0 <= self.score_threshold <= 1.0:
            raise InputError("evaluation.score_threshold", f"is {self.score_threshold}", "choose a number between 0 and 1")


DOWNSTREAM_METHODS = (
    *("label_transfer", "target_only", "class_names", "class_map", "box_statistics", "pseudo_label", "class_thresholds"),
    *("union", "lgpl", "student_teacher", "label_unification"),
)
STRATEGIES = ("mixed_then_target", "mixed", "half_and_half", "target_only")
DOWNSTREAM_DETECTORS = (*DETECTORS, "yolo")


@dataclass(frozen=True)
class DownstreamSettings(DetectorSettings):
    """Section `downstream`: the detector that is trained on a target and on what the sources' labels became.

    With `detector: yolo` the settings of the model are those of `yolo`, and `backbone`, `weights` and what follows do not count.

    Source: Label-Aligned Transfer, section 4 and Table 3 (training strategies).
    """

    method: str = "label_transfer"  # which labels the images of the sources have, or target_only for none; see docs/downstream.md
    name: str = ""  # files are those of downstream/TARGET, or of downstream/TARGET.NAME, so that several can be compared
    in_run: bool = True  # `lat run` trains it too; false leaves it to `lat train-downstream`
    strategy: str = "mixed_then_target"  # mixed_then_target, mixed, half_and_half (of each batch) or target_only
    target_share: float = 0.2  # with mixed_then_target: the last steps, as a share of all, are on the target's own images alone
    class_map: str = ""  # YAML file {source: {source class: target class or null}}, of class_map, box_statistics and lgpl
    labels: WeighingSettings = field(default_factory=WeighingSettings)
    training: TrainSettings = field(default_factory=lambda: TrainSettings(steps=600, learning_rate=4e-3, ema_decay=0.99))
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    yolo: YoloSettings = field(default_factory=YoloSettings)
    lgpl: LgplSettings = field(default_factory=LgplSettings)
    student_teacher: StudentTeacherSettings = field(default_factory=StudentTeacherSettings)
    label_unification: LabelUnificationSettings = field(default_factory=LabelUnificationSettings)

    def __post_init__(self) -> None:
        with _section("downstream"):
            for name, choices in (
                ("detector", DOWNSTREAM_DETECTORS),
                ("method", DOWNSTREAM_METHODS),
                ("strategy", STRATEGIES),
            ):
                if getattr(self, name) not in choices:
                    raise InputError(name, f"is '{getattr(self, name)}'", f"choose one of {', '.join(choices)}")
            if self.detector != "yolo":
                super().__post_init__()
            if not re.fullmatch(r"[A-Za-z0-9_-]*", self.name):
                raise InputError("name", f"is '{self.name}'", "use letters, digits, '_' and '-'")
            if not 0.0 < self.target_share < 1.0:
                remedy = "choose a number between 0 and 1, or another strategy"
                raise InputError("target_share", f"is {self.target_share}", remedy)
            self._check_method()

    def _check_method(self) -> None:
        """A method needs what it is made of, and some cannot train every detector."""
        if self.method == "class_map" and not self.class_map:
            raise InputError("class_map", "is empty", "name the YAML file of the map, or choose another method")
        unfit = {
            "student_teacher": ("yolo",),
            "label_unification": ("yolo", "detectron2", "auto"),
            "lgpl": ("detectron2", "yolo", *TRANSFORMERS_DETECTORS),
        }
        if self.detector in unfit.get(self.method, ()):
            remedy = f"choose a detector that is not {' or '.join(unfit[self.method])}, or another method"
            raise InputError("method", f"is {self.method}, which cannot train {self.detector}", remedy)
        is_binary = self.method == "label_unification" and self.label_unification.classification_loss == "null_bce"
        if is_binary and self.detector in TRANSFORMERS_DETECTORS:
            what = f"is null_bce, which {self.detector} has no softmax to replace by"
            raise InputError("label_unification.classification_loss", what, "leave it out, or choose detector: torchvision")
        if self.method == "student_teacher" and self.student_teacher.burn_in_steps >= self.training.steps:
            what = f"is {self.student_teacher.burn_in_steps}, and there are {self.training.steps} steps in all"
            raise InputError("student_teacher.burn_in_steps", what, "choose fewer, or train longer")

    @property
    def uses_sources(self) -> bool:
        """False if the target's own images are all that is trained on."""
        return "target_only" not in (self.method, self.strategy)

    def reserved(self, target_images: int) -> Reserved | None:
        """The places of the target's images, the first ones of the data, in each batch."""
        if not self.uses_sources:
            return None
        if self.strategy == "half_and_half":
            return Reserved.half(target_images, self.training.batch_size)
        steps, alone_from = self.training.steps, None
        if self.strategy == "mixed_then_target":
            alone_from = steps - round(self.target_share * steps)
        return Reserved(target_images, None, alone_from)
