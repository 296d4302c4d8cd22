from __future__ import annotations

import torch
from torch import Tensor

from lat.data.augment import strong_view as module
from lat.data.augment.appearance import blur
from lat.data.augment.strong_view import Erasing, strong_view

IMAGE = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def views(count: int = 60) -> list[Tensor]:
    return [strong_view(IMAGE, seeded(seed)) for seed in range(count)]


def test_the_generator_alone_decides() -> None:
    before = IMAGE.clone()
    torch.manual_seed(0)
    once = strong_view(IMAGE, seeded(5))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(strong_view(IMAGE, seeded(5)), once)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(IMAGE, before)
    assert not torch.equal(strong_view(IMAGE, seeded(6)), once)


def test_a_view_is_an_image_of_the_same_kind() -> None:
    for view in views():
        assert (view.shape, view.dtype) == (IMAGE.shape, IMAGE.dtype)
        assert view.min() >= 0
        assert view.max() <= 1
        assert view.data_ptr() != IMAGE.data_ptr()


def test_a_fifth_of_the_views_is_grey() -> None:
    # Erased patches are coloured: look at the share of grey pixels. 400 draws of probability 0.2 have a deviation of 0.02.
    grey = [(view[0] - view[1]).abs().lt(1e-5).float().mean() > 0.4 for view in views(400)]
    assert abs(sum(grey) / 400 - 0.2) < 0.06


def test_an_erased_patch_has_the_area_and_shape_asked_for() -> None:
    # A tenth of 40 x 60 is 240 pixels; with height / width 0.6 that is 12 x 20.
    for seed in range(5):
        erased = module._erased(torch.full((3, 40, 60), -1.0), Erasing(1.0, (0.1, 0.1), (0.6, 0.6)), seeded(seed))
        rows, columns = torch.where((erased != -1).all(dim=0))
        assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1, len(rows)) == (12, 20, 240)
        assert erased[:, rows, columns].std() > 0.2
    flat = module._erased(torch.full((3, 4, 60), -1.0), Erasing(1.0, (0.2, 0.2), (8.0, 8.0)), seeded(0))
    assert (flat != -1).all(dim=0).any(dim=1).all()  # as high as the image, no higher


def test_blur_keeps_a_flat_image_and_smooths_an_edge() -> None:
    flat = torch.full((3, 20, 20), 0.3)
    torch.testing.assert_close(blur(flat, 2.0), flat)
    edge = torch.zeros(3, 9, 40)
    edge[:, :, 20:] = 1.0
    assert 0.0 < blur(edge, 1.5)[0, 4, 18] < 0.5
    assert strong_view(torch.rand(3, 1, 1), seeded(3)).shape == (3, 1, 1)
