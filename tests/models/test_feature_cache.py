"""The feature cache returns what the backbone would, computes it once, and never serves a stale or half-written map."""

import errno
import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from torch import Tensor, nn

from lat.core.errors import InputError
from lat.models import feature_cache
from lat.models.backbones.frozen import FrozenBackbone, build_backbone
from lat.models.feature_cache import FeatureCache
from lat.models.feature_files import IMAGES_PER_SHARD, file_identity
from lat.models.feature_range import FeatureRange
from lat.models.model_settings import BackboneSettings


class Pixels:
    """Seeded images of given sizes, with files that stand for them."""

    def __init__(self, folder: Path, sizes_hw: list[tuple[int, int]], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.images = [torch.randint(256, (3, *size_hw), dtype=torch.uint8, generator=generator) for size_hw in sizes_hw]
        self.folder = folder
        folder.mkdir()
        for index in range(len(sizes_hw)):
            self.image_path(index).write_bytes(b"pixels")

    def __len__(self) -> int:
        return len(self.images)

    def size_hw(self, index: int) -> tuple[int, int]:
        return self.images[index].shape[1], self.images[index].shape[2]

    def pixels(self, index: int) -> Tensor:
        return self.images[index]

    def image_path(self, index: int) -> Path:
        return self.folder / f"{index:05}.png"


class CountingNetwork(nn.Module):
    """One convolution that counts the images it saw, and can be told to fail."""

    feature_stride = 4

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Conv2d(3, 6, 4, stride=4)
        self.seen = 0
        self.fail_after = 10**9

    def feature_maps(self, images: Tensor) -> Tensor:
        if self.seen >= self.fail_after:
            raise KeyboardInterrupt
        self.seen += len(images)
        return self.layer(images)


SIZES = [(16, 24)] * (IMAGES_PER_SHARD + 2) + [(24, 16)] * 3
KEYS = [(name, index, flip) for name, n in (("city", len(SIZES)), ("way", 1)) for index in range(n) for flip in (False, True)]


@pytest.fixture
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pixels]:
    folder = tmp_path_factory.mktemp("images")
    return {"city": Pixels(folder / "city", SIZES, seed=0), "way": Pixels(folder / "way", [(16, 24)], seed=1)}


class MakeCache(Protocol):
    def __call__(self, mode: str, seed: int = 0, dtype: str = "float16") -> tuple[FeatureCache, CountingNetwork]: ...


def cache_of(
    sources: dict[str, Pixels], mode: str, folder: Path, seed: int = 0, dtype: str = "float16"
) -> tuple[FeatureCache, CountingNetwork]:
    network = CountingNetwork(seed)
    backbone = FrozenBackbone(network)
    network.seen = 0
    return FeatureCache(backbone, sources, BackboneSettings(cache=mode, cache_dtype=dtype), folder), network


@pytest.fixture
def make_cache(sources: dict[str, Pixels], tmp_path: Path) -> MakeCache:
    return partial(cache_of, sources, folder=tmp_path)


@pytest.mark.parametrize("mode", ["memory", "disk", "none"])
@pytest.mark.parametrize("filled", [True, False])
def test_every_map_is_the_backbones_own(make_cache: MakeCache, sources: dict[str, Pixels], mode: str, filled: bool) -> None:
    cache, _ = make_cache(mode, dtype="float32")
    if filled:
        cache.fill()
    for name, index, flip in KEYS:
        image = sources[name].pixels(index)[None]
        expected = cache.backbone.feature_maps(image.flip(3) if flip else image)[0]
        torch.testing.assert_close(cache.get(name, index, flip), expected)
        assert cache.scales(name, index) == (0.25, 0.25)


@pytest.mark.parametrize("mode", ["memory", "disk", "none"])
def test_maps_are_float16_unless_set_otherwise(make_cache: MakeCache, mode: str) -> None:
    cache, _ = make_cache(mode)
    assert cache.get("city", 0).dtype == torch.float16


def test_the_flipped_entry_is_the_map_of_the_flipped_image_and_not_the_flipped_map(make_cache: MakeCache) -> None:
    cache, _ = make_cache("memory")
    flipped = cache.get("city", 0, flip=True)
    assert not torch.allclose(flipped, cache.get("city", 0).flip(2), atol=1e-2)


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_each_map_is_computed_once_in_batches_of_one_size(make_cache: MakeCache, mode: str) -> None:
    cache, network = make_cache(mode)
    steps: list[int] = []
    assert cache.count_missing() == len(KEYS)
    cache.fill(steps.append)
    assert network.seen == len(KEYS)
    # both flips of: a full shard and two more of one size, three of the other, and one of the second dataset
    assert steps == [2 * n for n in (IMAGES_PER_SHARD, 2, 3, 1)]
    for key in KEYS:
        cache.get(*key)
    cache.fill(steps.append)
    assert network.seen == len(KEYS)
    assert cache.count_missing() == 0


def test_without_a_cache_every_get_computes_again(make_cache: MakeCache) -> None:
    cache, network = make_cache("none")
    cache.fill()
    assert cache.count_missing() == network.seen == 0
    cache.get("city", 0)
    cache.get("city", 0)
    assert network.seen == 2


def test_maps_on_disk_serve_the_next_process(make_cache: MakeCache) -> None:
    first, _ = make_cache("disk")
    first.fill()
    second, network = make_cache("disk")
    assert all(torch.equal(first.get(*key), second.get(*key)) for key in KEYS)
    assert network.seen == 0


def test_an_interrupted_fill_goes_on_where_it_stopped(make_cache: MakeCache) -> None:
    cache, network = make_cache("disk")
    network.fail_after = 2 * IMAGES_PER_SHARD  # both flips of the first shard, and no more
    with pytest.raises(KeyboardInterrupt):
        cache.fill()
    again, network = make_cache("disk")
    again.fill()
    assert network.seen == len(KEYS) - 2 * IMAGES_PER_SHARD


class HalfOf:
    """One of two processes; the other has handed over `others`."""

    here = 2

    def __init__(self, rank: int, others: list[Any]) -> None:
        self.rank, self.others, self.made = rank, others, []

    def share(self, items: Sequence[Any]) -> list[Any]:
        return list(items[self.rank :: 2])

    def in_order(self, mine: Iterable[Any], total: int, *, everywhere: bool) -> Iterator[Any]:
        assert everywhere
        self.made = list(mine)
        both = [self.others, self.made] if self.rank else [self.made, self.others or self.made]
        return iter([both[i % 2][i // 2] for i in range(total)])


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_two_processes_each_fill_their_share_and_have_all(make_cache: MakeCache, mode: str) -> None:
    (first, network), (second, other_network) = make_cache(mode), make_cache(mode)
    one = HalfOf(0, [])
    first.fill(processes=one)
    steps: list[int] = []
    second.fill(steps.append, processes=HalfOf(1, one.made))
    assert network.seen + other_network.seen == len(KEYS) == sum(steps)
    assert min(network.seen, other_network.seen) > 0
    assert second.count_missing() == 0
    alone, _ = make_cache("none")
    assert all(torch.equal(second.get(*key), alone.get(*key)) for key in KEYS)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", "half"])
def test_a_damaged_file_is_computed_again(make_cache: MakeCache, damage: bytes | str, tmp_path: Path) -> None:
    cache, network = make_cache("disk")
    cache.fill()
    expected = [cache.get(*key) for key in KEYS]
    for path in tmp_path.rglob("*.npy"):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if isinstance(damage, str) else damage)
    assert all(torch.equal(cache.get(*key), value) for key, value in zip(KEYS, expected, strict=True))
    assert network.seen == 2 * len(KEYS)


def test_a_failed_write_leaves_no_file(make_cache: MakeCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_midway(file, header):  # type: ignore[no-untyped-def]
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    cache, _ = make_cache("disk")
    monkeypatch.setattr(feature_cache, "write_array_header_1_0", fail_midway)
    with pytest.raises(InputError, match=r"\.npy: cannot be read or written \(no space left on device\)"):
        cache.fill()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_changed_weights_number_format_or_image_files_are_never_served_from_before(
    make_cache: MakeCache, sources: dict[str, Pixels]
) -> None:
    make_cache("disk")[0].fill()
    assert make_cache("disk")[0].count_missing() == 0
    assert make_cache("disk", seed=1)[0].count_missing() == len(KEYS)
    assert make_cache("disk", dtype="float32")[0].count_missing() == len(KEYS)
    sources["way"].image_path(0).write_bytes(b"other pixels")
    assert make_cache("disk")[0].count_missing() == 2


@pytest.mark.parametrize(("content", "seconds"), [(b"ab", 1_000_000_000), (b"b", 1_000_000_001)])
def test_the_identity_of_a_file_changes_with_its_size_or_its_time(content: bytes, seconds: int, tmp_path: Path) -> None:
    path = tmp_path / "00000.png"
    path.write_bytes(b"a")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    before = file_identity(path, tmp_path)
    path.write_bytes(content)
    os.utime(path, (seconds, seconds))
    assert file_identity(path, tmp_path) != before


def test_two_images_of_one_name_size_and_time_in_two_folders_have_maps_of_their_own(tmp_path: Path) -> None:
    sources = [{"city": Pixels(tmp_path / folder, [(16, 24)], seed)} for seed, folder in enumerate("ab")]
    for source in sources:
        os.utime(source["city"].image_path(0), (1_000_000_000, 1_000_000_000))
    one, other = (cache_of(source, "disk", tmp_path / "cache", dtype="float32")[0] for source in sources)
    first = one.get("city", 0)
    assert not torch.equal(first, other.get("city", 0))
    moved = tmp_path / "elsewhere"  # the run and its data together
    moved.mkdir()
    for name in ("a", "cache"):
        (tmp_path / name).rename(moved / name)
    sources[0]["city"].folder = moved / "a"
    assert cache_of(sources[0], "disk", moved / "cache", dtype="float32")[0].count_missing() == 1  # the flipped one alone


def test_memory_that_does_not_suffice_is_an_input_error_that_names_the_disk(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, network = make_cache("memory")
    # 10 images of 4 x 6 cells, 3 of 6 x 4, 1 of 4 x 6; two flips, six channels, two bytes
    assert cache.estimate_bytes() == 14 * 24 * 2 * 6 * 2
    monkeypatch.setattr(feature_cache, "available_memory", lambda: cache.estimate_bytes() - 1)
    with pytest.raises(InputError, match=r"set lat\.backbone\.cache=disk"):
        cache.fill()
    assert network.seen == 0
    assert feature_cache.available_memory() > 0


def test_features_beyond_the_number_format_are_an_input_error(make_cache: MakeCache) -> None:
    cache, network = make_cache("memory")
    network.layer.bias.data += 1e6  # float16 ends at 65504
    with pytest.raises(InputError, match="float32"):
        cache.fill()


def test_a_real_backbone_with_resized_images_estimates_its_size_exactly(sources: dict[str, Pixels]) -> None:
    settings = BackboneSettings(name="random", image_size=28)
    cache = FeatureCache(build_backbone(settings), sources, settings)
    cache.fill()
    kept = [cache.get(*key) for key in KEYS]
    assert sum(maps.numel() * maps.element_size() for maps in kept) == cache.estimate_bytes()


def test_a_cache_may_be_sent_to_another_process(make_cache: MakeCache) -> None:
    cache, _ = make_cache("memory")
    cache.backbone.precision = lambda: nullcontext()  # as a run's own, it cannot be sent
    cache.load("city", 0)  # begins to read
    copied = pickle.loads(pickle.dumps(cache))
    assert torch.equal(copied.get("city", 0), cache.get("city", 0))


def test_images_of_missing_maps_are_read_when_they_are_loaded_and_computed_when_they_are_completed(
    make_cache: MakeCache,
) -> None:
    cache, network = make_cache("memory")
    loaded = [cache.load(*key) for key in KEYS]
    assert {one.dtype for one in loaded} == {torch.int64}
    assert network.seen == 0
    maps = cache.complete(loaded)
    assert network.seen == len(KEYS)
    assert all(torch.equal(one, cache.get(*key)) for one, key in zip(maps, KEYS, strict=True))
    assert network.seen == len(KEYS)


def test_maps_can_be_trained_on(make_cache: MakeCache) -> None:
    for mode, dtype in (("none", "float16"), ("none", "float32"), ("memory", "float32")):
        (features,) = (cache := make_cache(mode, dtype=dtype)[0]).complete([cache.load("city", 0)])
        layer = nn.Conv2d(6, 1, 1)
        layer(features[None].float()).sum().backward()
        assert layer.weight.grad is not None


def test_the_backbone_computes_in_the_precision_of_the_run() -> None:
    backbone = build_backbone(BackboneSettings(name="random"))
    images = torch.randint(256, (2, 3, 16, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    exact = backbone.feature_maps(images)
    torch.testing.assert_close(exact, backbone.feature_maps(images.float() / 255), rtol=0, atol=0)
    backbone.precision = partial(torch.autocast, "cpu", dtype=torch.bfloat16)
    rounded = backbone.feature_maps(images)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_number_that_is_not_finite_is_found(value: float) -> None:
    watched, maps = FeatureRange("float16"), torch.zeros(2, 3, 4, 5, dtype=torch.float16)
    watched.watch(maps)
    maps[1, 2, 3, 4] = value
    with pytest.raises(InputError, match="float16"):
        watched.watch(maps)
