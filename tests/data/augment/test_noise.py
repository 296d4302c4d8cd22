"""Noise: off by default, drawn from the generator alone, and stronger from round to round."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from factories import label_space, labeled_boxes

from lat.core.errors import InputError
from lat.data.augment.appearance import jitter_colors
from lat.data.augment.augment_settings import AugmentationSettings, NoiseSettings
from lat.data.augment.noise import add_noise

IMAGE = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))
SAMPLE = (IMAGE, labeled_boxes(label_space(), [[4, 4, 20, 20]]))


def noisy(seed: int = 0, **settings: float) -> tuple[torch.Tensor, list[list[float]]]:
    image, boxes = add_noise(SAMPLE, lambda: SAMPLE, NoiseSettings(**settings), torch.Generator().manual_seed(seed))
    return image, boxes.boxes_xyxy.tolist()


def test_by_default_nothing_changes() -> None:
    assert not NoiseSettings().changes_images
    assert not NoiseSettings(dropout=0.5, widen=[0.0, 0.5]).changes_images
    image, boxes = noisy()
    assert torch.equal(image, IMAGE)
    assert boxes == [[4, 4, 20, 20]]


@pytest.mark.parametrize("settings", [{"color": 0.4}, {"blur": 1.0}, {"mosaic": 1.0}])
def test_each_kind_of_noise_is_drawn_from_the_generator_alone(settings: dict[str, Any]) -> None:
    assert NoiseSettings(**settings).changes_images
    first, again, other = noisy(1, **settings), noisy(1, **settings), noisy(2, **settings)
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]
    assert not torch.equal(first[0], other[0])
    assert 0 <= first[0].min() <= first[0].max() <= 1
    assert first[0].shape == IMAGE.shape
    assert (first[1] != [[4, 4, 20, 20]]) == ("mosaic" in settings)


def test_a_blurred_image_varies_less_and_keeps_its_mean() -> None:
    image, _ = noisy(blur=1.0)
    assert image.std() < 0.9 * IMAGE.std()
    assert abs(image.mean() - IMAGE.mean()) < 0.02


def test_brightness_of_a_grey_image_changes_by_at_most_the_strength() -> None:
    grey = torch.full((3, 4, 4), 0.5)  # contrast, saturation and hue leave it as it is
    factors = [float(jitter_colors(grey, 0.4, torch.Generator().manual_seed(seed)).mean()) / 0.5 for seed in range(60)]
    assert 0.6 <= min(factors) < 0.7
    assert 1.3 < max(factors) <= 1.4


def test_scales_widen_with_each_round() -> None:
    noise, augmentation = NoiseSettings(widen=[0.25, 0.5]), AugmentationSettings(scale=[0.8, 1.2])
    assert noise.widened(augmentation, 0).scale == [0.8, 1.2]
    assert noise.widened(augmentation, 2).scale == pytest.approx([0.45, 2.7])  # 0.8 * 0.75^2, 1.2 * 1.5^2


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"color": 1.5}, "color"),
        ({"mosaic": -0.1}, "mosaic"),
        ({"dropout": 1.0}, "dropout"),
        ({"widen": [0.0, -1.0]}, "widen"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name}: is "):
        NoiseSettings(**settings)
