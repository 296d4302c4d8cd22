"""The sections of a run's settings that belong to stages; each holds the settings of the classes that its stage makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

from lat.baselines.baseline_settings import LabelUnificationSettings, StudentTeacherSettings
from lat.core.errors import InputError, did_you_mean
from lat.data.augment.augment_settings import NoiseSettings
from lat.data.data_settings import WeighingSettings
from lat.detectors.detector_settings import DETECTORS, TRANSFORMERS_DETECTORS, DetectorSettings, YoloSettings
from lat.engine.training_settings import TrainSettings
from lat.labelling.labelling_settings import CALIBRATIONS, CombineSettings, DecodeSettings, FilterSettings, PriorSettings
from lat.models.model_settings import BackboneSettings, FusionSettings, HeadSettings, ProposalSettings


@dataclass(frozen=True)
class UpstreamMember:
    """One of the detectors that label images in the space of a target together."""

    model: DetectorSettings
    training: TrainSettings


@dataclass(frozen=True)
class UpstreamSettings:
    """Section `upstream`: the detector that is trained on each dataset."""

    model: DetectorSettings = field(default_factory=DetectorSettings)
    members: list[dict[str, Any]] = field(default_factory=list)  # further detectors of each target, each as changes to `model`
    # and `training`, such as [{model: {backbone: small, weights: none}}], or [{}] for another seed; detections are averaged
    training: TrainSettings = field(default_factory=lambda: TrainSettings(steps=800, learning_rate=4e-3))
    min_ap: float = 0.0  # stop before labelling if a detector has a lower AP (0 to 100) on its held-out images; 0 for never

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_ap <= 100.0:
            raise InputError("min_ap", f"is {self.min_ap}", "choose an AP from 0 to 100")
        for position, member in enumerate(self.all_members):
            where = f"members[{position - 1}].model.detector" if position else "model.detector"
            _check_choice(where, member.model.detector, DETECTORS)

    @property
    def all_members(self) -> tuple[UpstreamMember, ...]:
        """The detector itself, then the further members.

        Raises:
            InputError: if a member has a setting that there is not.
        """
        itself = UpstreamMember(self.model, self.training)
        return (itself, *(_changed(itself, f"members[{i}]", changes) for i, changes in enumerate(self.members)))


def _changed(settings: Any, where: str, changes: Any) -> Any:
    """Settings with changes to them, which nest as they do; `where` names them in errors."""
    if not isinstance(changes, Mapping):
        raise InputError(where, f"is {changes!r}", "write a mapping of settings")
    known, values = [one.name for one in fields(settings)], {}
    for name, value in changes.items():
        if name not in known:
            raise InputError(where, f"has no setting '{name}'", did_you_mean(str(name), known))
        before = getattr(settings, name)
        values[name] = _changed(before, f"{where}.{name}", value) if is_dataclass(before) else value
    return replace(settings, **values)


@dataclass(frozen=True)
class PseudoLabelSettings:
    """Section `pseudo_label`: which detections of an upstream detector become pseudo-labels."""

    threshold: float = 0.05  # detections with a lower score are no proposals, nor are labels of outside label sets
    voting_iou: float = 0.75  # a detection's box is the mean of the boxes that all regions with this IoU or more draw for its
    # class, weighted by score; 1 for that of the surest region alone (torchvision, detectron2)
    mirrored: bool = True  # detect on the mirror image of each image too, and average, if detectors train on mirror images
    scaled: list[float] = field(default_factory=lambda: [1.3])  # detect on each image so many times as large too, and average, if
    # detectors train on such sizes (augmentation.scale); [] for none
    filter: FilterSettings = field(default_factory=FilterSettings)  # which are kept, given all of a space

    def __post_init__(self) -> None:
        for name in ("threshold", "voting_iou"):
            _check_share(name, getattr(self, name))
        for scale in self.scaled:
            if not 0.0 < scale < float("inf") or scale == 1.0:
                raise InputError("scaled", f"has {scale}", "choose numbers above 0, such as [1.3], without 1")
        if len(set(self.scaled)) < len(self.scaled):
            raise InputError("scaled", f"is {self.scaled}", "name each once")


@dataclass(frozen=True)
class LabelTransferSettings:
    """Section `lat`: the label-transfer model and its training."""

    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    proposals: ProposalSettings = field(default_factory=ProposalSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)
    head: HeadSettings = field(default_factory=HeadSettings)
    training: TrainSettings = field(default_factory=lambda: TrainSettings(steps=1200, learning_rate=1e-3))
    dataset_power: float = 0.5  # a dataset is drawn in proportion to its number of images to this power: 1 draws all images
    # alike, 0 all datasets alike

    def __post_init__(self) -> None:
        _check_share("dataset_power", self.dataset_power)


@dataclass(frozen=True)
class TransferSettings:
    """Section `transfer`: how the model's output becomes labels."""

    prior: PriorSettings = field(default_factory=PriorSettings)  # weighs classes by the class of the human box
    combine: CombineSettings = field(default_factory=CombineSettings)
    decode: DecodeSettings = field(default_factory=DecodeSettings)
    calibration: str = "platt"  # of scores to held-out images: platt (slope and bias of the logit), isotonic (any curve) or none
    filter: FilterSettings = field(default_factory=FilterSettings)  # which labels are kept, given all of a transfer

    def __post_init__(self) -> None:
        _check_choice("calibration", self.calibration, CALIBRATIONS)


FURTHER_LEARNING_RATE = 0.25  # of further training, as a share of the first's


@dataclass(frozen=True)
class RoundsSettings:
    """Section `rounds`: doing everything again with what has been transferred.

    In each further round the detector of every target is trained on with its own ground truth and the labels transferred to it,
    then its pseudo-labels are made anew, the label-transfer model is trained anew, and labels are transferred with it.
    """

    count: int = 1  # further rounds; 0 for none
    steps_share: float = 0.5  # steps of further training, as a share of `upstream.training.steps`
    labels: WeighingSettings = field(default_factory=WeighingSettings)  # which transferred labels train it
    labelling_ratio: list[float] = field(default_factory=list)  # in round 1, 2, ... (the last holds on): of the labels that
    # would train, only the surest, as this share of the target's boxes of each class per image; the rest is don't-care; empty
    # for all
    noise: NoiseSettings = field(default_factory=NoiseSettings)  # on the images of further training

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InputError("count", f"is {self.count}", "choose 0 or more")
        for ratio in self.labelling_ratio:
            if not 0.0 < ratio < float("inf"):
                raise InputError("labelling_ratio", f"has {ratio}", "choose numbers above 0, such as [0.2, 0.5]")
        if not 0.0 < self.steps_share <= 1.0:
            raise InputError("steps_share", f"is {self.steps_share}", "choose a number above 0, at most 1")

    def ratio_of(self, number: int) -> float | None:
        """The labelling ratio of round `number`, from 1; None where all labels are trained on."""
        return self.labelling_ratio[min(number, len(self.labelling_ratio)) - 1] if self.labelling_ratio else None

    def described(self, number: int) -> dict[str, Any]:
        """What the training of detectors in round `number` depends on besides `Config.round_augmentation`, as plain types."""
        of_round = {"count": None, "labelling_ratio": self.ratio_of(number), "noise": {**asdict(self.noise), "widen": None}}
        return {**asdict(self), **of_round}


@dataclass(frozen=True)
class EvaluationSettings:
    """Section `evaluation`: which transferred labels count where no curve over all scores is drawn."""

    counted_threshold: float = 0.5  # labels with a lower score are left out of agreement figures and pictures, not of AP

    def __post_init__(self) -> None:
        _check_share("counted_threshold", self.counted_threshold)


DOWNSTREAM_METHODS = (
    *("label_transfer", "target_only", "class_names", "class_map", "box_statistics", "pseudo_label", "class_thresholds"),
    *("union", "union_averaged", "lgpl", "student_teacher", "label_unification"),
)
STRATEGIES = ("mixed_then_target", "mixed", "half_and_half", "target_only")


@dataclass(frozen=True)
class DownstreamSettings:
    """Section `downstream`: the detector that is trained on a target and on what the sources' labels became.

    Source: Label-Aligned Transfer, section 4 and Table 3 (training strategies).
    """

    method: str = "label_transfer"  # which labels the images of the sources have, or target_only for none; see docs/downstream.md
    name: str = ""  # files are those of downstream/TARGET, or of downstream/TARGET.NAME, so that several can be compared
    in_run: bool = True  # `lat run` trains it too; false leaves it to `lat train-downstream`
    strategy: str = "mixed_then_target"  # mixed_then_target, mixed, half_and_half (of each batch) or target_only
    target_share: float = 0.2  # with mixed_then_target: the last steps, as a share of all, are on the target's own images alone
    class_map: str = ""  # YAML file {source: {source class: target class or null}}, of class_map, box_statistics and lgpl
    labels: WeighingSettings = field(default_factory=WeighingSettings)  # which of the sources' labels are trained on
    model: DetectorSettings = field(default_factory=DetectorSettings)
    yolo: YoloSettings = field(default_factory=YoloSettings)
    training: TrainSettings = field(default_factory=lambda: TrainSettings(steps=600, learning_rate=4e-3))
    ema_decay: float = 0.99  # decay of the exponential moving average of the weights that is saved; 0 saves the last weights
    student_teacher: StudentTeacherSettings = field(default_factory=StudentTeacherSettings)
    label_unification: LabelUnificationSettings = field(default_factory=LabelUnificationSettings)

    def __post_init__(self) -> None:
        _check_choice("method", self.method, DOWNSTREAM_METHODS)
        _check_choice("strategy", self.strategy, STRATEGIES)
        if not re.fullmatch(r"[A-Za-z0-9_-]*", self.name):
            raise InputError("name", f"is '{self.name}'", "use letters, digits, '_' and '-'")
        if not 0.0 < self.target_share < 1.0:
            raise InputError("target_share", f"is {self.target_share}", "choose a number between 0 and 1, or another strategy")
        if not 0.0 <= self.ema_decay < 1.0:
            raise InputError("ema_decay", f"is {self.ema_decay}", "choose 0 or more and below 1")
        self._check_method()

    def _check_method(self) -> None:
        """A method needs what it is made of, and some cannot train every detector."""
        detector = self.model.detector
        if self.method == "class_map" and not self.class_map:
            raise InputError("class_map", "is empty", "name the YAML file of the map, or choose another method")
        unfit = {
            "student_teacher": ("yolo",),
            "label_unification": ("yolo", "detectron2", "auto"),
            "lgpl": ("detectron2", "yolo", *TRANSFORMERS_DETECTORS),
        }
        if detector in unfit.get(self.method, ()):
            remedy = f"choose a detector that is not {' or '.join(unfit[self.method])}, or another method"
            raise InputError("method", f"is {self.method}, which cannot train {detector}", remedy)
        if self.method == "label_unification" and self.label_unification.is_binary and detector in TRANSFORMERS_DETECTORS:
            what = f"is null_bce, which {detector} has no softmax to replace by"
            raise InputError("label_unification.classification_loss", what, "leave it out, or choose detector: torchvision")
        if self.method == "student_teacher" and self.student_teacher.burn_in_steps >= self.training.steps:
            what = f"is {self.student_teacher.burn_in_steps}, and there are {self.training.steps} steps in all"
            raise InputError("student_teacher.burn_in_steps", what, "choose fewer, or train longer")

    @property
    def uses_sources(self) -> bool:
        """False if the target's own images are all that is trained on."""
        return "target_only" not in (self.method, self.strategy)


def _check_share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise InputError(name, f"is {value}", "choose a number between 0 and 1")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(name, f"is '{value}'", f"choose one of {', '.join(choices)}")
