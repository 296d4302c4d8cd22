"""Settings of the search for relations."""

from __future__ import annotations

from dataclasses import dataclass, field

from lat.core.errors import InputError

RELATION_METHODS = ("slamdunks", "missing_link", "aut", "class_relational")
FEATURES = ("regions", "crops")


@dataclass(frozen=True)
class RelationSettings:
    """Section `relations`: how relations between the classes of two label spaces are found.

    Raises:
        InputError: if a value is out of its range.
    """

    method: str = "slamdunks"  # slamdunks, missing_link, aut or class_relational
    file: str = ""  # relations that a person has reviewed, as `lat relations --review` writes them; taken as given
    features: str = "regions"  # a small head on the frozen features over boxes, or crops: a ResNet-18 on crops
    threshold: float = 0.7  # share of a class in another from which class_relational, and the loss of that name, relate them

    def __post_init__(self) -> None:
        if self.method not in RELATION_METHODS:
            raise InputError("method", f"is '{self.method}'", f"choose one of {', '.join(RELATION_METHODS)}")
        if self.features not in FEATURES:
            raise InputError("features", f"is '{self.features}'", f"choose one of {', '.join(FEATURES)}")
        if not 0.0 < self.threshold <= 1.0:
            raise InputError("threshold", f"is {self.threshold}", "choose a share above 0, at most 1")


@dataclass(frozen=True)
class RelationTraining:
    """How the models are trained from which relations are read; a run has the defaults.

    Attributes:
        steps: training steps of each model.
        batch_size: samples a step, half of them from each dataset; even.
        learning_rate: of Adam, without weight decay.
        dim: channels of the trained head on the frozen features.
        pretrain_share: steps in which the extractor learns each dataset's classes before SLAMDUNKS starts, as a share of `steps`.
        zero_init: whether both heads of SLAMDUNKS start at zero.
        weighted_sampling: whether every class is drawn equally often.
        standalone_bias: lambda of SLAMDUNKS in [0, 1] for all classes; -1 searches for that of each.
        search_points: values of lambda that its search may try, 2 or more, evenly spaced over [0, 1].
    """

    steps: int = 400
    batch_size: int = 64
    learning_rate: float = 1e-3
    dim: int = 128
    pretrain_share: float = 0.5
    zero_init: bool = True
    weighted_sampling: bool = True
    standalone_bias: float = -1.0
    search_points: int = 11


@dataclass(frozen=True)
class RelationSearch:
    """All that a method is told: the section of the configuration, and how its models are trained."""

    settings: RelationSettings = field(default_factory=RelationSettings)
    training: RelationTraining = field(default_factory=RelationTraining)

    @property
    def pretrain_steps(self) -> int:
        """Steps before SLAMDUNKS starts."""
        return round(self.training.pretrain_share * self.training.steps)
