"""Settings of the search for relations."""

from __future__ import annotations

from dataclasses import dataclass

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
    features: str = "regions"  # a small head on the frozen features of `lat.backbone` over boxes, or crops: a ResNet-18 on crops
    steps: int = 400  # training steps of each model
    batch_size: int = 64  # samples a step, half of them from each dataset
    learning_rate: float = 1e-3  # of Adam, without weight decay
    dim: int = 128  # channels of the trained head on the frozen features
    pretrain_steps: int = 200  # steps in which the extractor learns each dataset's classes before SLAMDUNKS starts
    standardize: bool = True  # whether each dataset's samples get mean 0 and deviation 1, which takes off most of a domain shift
    zero_init: bool = True  # whether both heads of SLAMDUNKS start at zero
    weighted_sampling: bool = True  # whether every class is drawn equally often
    standalone_bias: float = -1.0  # lambda of SLAMDUNKS in [0, 1] for all classes; -1 searches for that of each
    search_points: int = 11  # values of lambda that the search may try, evenly spaced over [0, 1]
    threshold: float = 0.7  # share of a class in another from which class_relational, and the loss of that name, relate them
    pooled_size: int = 3  # side of the RoIAlign grid over a box
    crop_size: int = 48  # with crops: pixels of a side to which each crop is resized

    def __post_init__(self) -> None:
        if self.method not in RELATION_METHODS:
            raise InputError("relations.method", f"is '{self.method}'", f"choose one of {', '.join(RELATION_METHODS)}")
        if self.features not in FEATURES:
            raise InputError("relations.features", f"is '{self.features}'", f"choose one of {', '.join(FEATURES)}")
        least_values = {
            "crop_size": 8,
            "steps": 1,
            "batch_size": 4,
            "dim": 1,
            "pretrain_steps": 0,
            "search_points": 2,
            "pooled_size": 1,
        }
        for name, least in least_values.items():
            if getattr(self, name) < least:
                raise InputError(f"relations.{name}", f"is {getattr(self, name)}", f"choose {least} or more")
        if self.batch_size % 2:
            raise InputError("relations.batch_size", f"is {self.batch_size}", "choose an even number: each dataset gets half")
        if self.learning_rate <= 0:
            raise InputError("relations.learning_rate", f"is {self.learning_rate}", "choose a number above 0")
        if not 0.0 < self.threshold <= 1.0:
            raise InputError("relations.threshold", f"is {self.threshold}", "choose a share above 0, at most 1")
        if self.standalone_bias != -1.0 and not 0.0 <= self.standalone_bias <= 1.0:
            raise InputError(
                "relations.standalone_bias", f"is {self.standalone_bias}", "choose a number in [0, 1], or -1 to search"
            )
