"""Promptable detectors of each family, against the library's own reading of what the same model says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")

from promptable_models import SAVED, bert_tokenizer  # noqa: E402

from lat.core.errors import InputError  # noqa: E402
from lat.core.label_space import LabelSpace  # noqa: E402
from lat.detectors.detections import is_solid  # noqa: E402
from lat.detectors.promptable.asked import joined_scores  # noqa: E402
from lat.detectors.promptable.grounding_dino import _texts  # noqa: E402
from lat.detectors.promptable.load import load_promptable  # noqa: E402

PROMPTS = ["person riding a bicycle", "car", "red square"]
SPACE = LabelSpace.from_names("asked", ["rider", "car", "square"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save(tmp_path_factory.mktemp(name)) for name, save in SAVED.items()}


def an_image(seed: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", SAVED)
def test_an_image_has_its_detections_whatever_is_asked_beside_it(family: str, folders: dict[str, Path]) -> None:
    detector = load_promptable(str(folders[family]), SPACE, PROMPTS, 0.0)
    images = [an_image(0, 60, 90), an_image(1, 90, 60), an_image(2, 60, 90)]
    together = detector.predict(images)
    for image, found in zip(images, together, strict=True):
        (alone,) = detector.predict([image])
        assert torch.allclose(found.boxes_xyxy, alone.boxes_xyxy, atol=1e-3)
        assert torch.equal(found.labels, alone.labels)
        assert found.class_scores is not None
        assert torch.equal(found.class_scores.max(dim=1).values, found.scores)
        assert (found.scores.diff() <= 0).all()
        assert (found.boxes_xyxy >= 0).all()
        assert (found.boxes_xyxy <= torch.tensor([image.shape[2], image.shape[1]] * 2)).all()
    threshold = float(together[0].scores.mean())
    fewer = load_promptable(str(folders[family]), SPACE, PROMPTS, threshold).predict(images[:1])[0]
    assert torch.allclose(fewer.scores, together[0].scores[together[0].scores >= threshold])


def library_says(folder: Path, image: torch.Tensor, text: Any) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    """Model and processor, and the first image's boxes and scores as the library's own code reads them."""
    kind = transformers.AutoConfig.from_pretrained(folder).model_type
    library = transformers.Sam3Model if kind == "sam3" else transformers.AutoModelForZeroShotObjectDetection
    model, processor = library.from_pretrained(folder).eval(), transformers.AutoProcessor.from_pretrained(folder)
    pixels = (image * 255).round().to(torch.uint8)
    inputs = processor(images=pixels, text=text, return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs)
    post = getattr(processor, "post_process_object_detection" if kind == "sam3" else "post_process_grounded_object_detection")
    size = [tuple(image.shape[-2:])]
    (result,) = post(output, threshold=0.0, target_sizes=size)
    return output, inputs, result


def test_sam3_as_the_library_reads_it(folders: dict[str, Path]) -> None:
    image = (an_image(0, 60, 90) * 255).round() / 255
    ours = load_promptable(str(folders["sam3"]), LabelSpace.from_names("asked", ["car"]), ["car"], 0.0).predict([image])[0]
    result = library_says(folders["sam3"], image, "car")[2]
    assert torch.allclose(ours.scores, result["scores"].sort(descending=True).values, atol=1e-4)
    order = result["scores"].argsort(descending=True, stable=True)
    inside = result["boxes"][order].clamp(min=0).minimum(torch.tensor([90.0, 60, 90, 60]))
    assert torch.allclose(ours.boxes_xyxy, inside, atol=0.05)


def test_owlv2_as_the_library_reads_it(folders: dict[str, Path]) -> None:
    image = (an_image(0, 60, 90) * 255).round() / 255
    ours = load_promptable(str(folders["owlv2"]), SPACE, PROMPTS, 0.0).predict([image])[0]
    result = library_says(folders["owlv2"], image, [[f"a photo of a {prompt}" for prompt in PROMPTS]])[2]
    inside = result["boxes"].clamp(min=0).minimum(torch.tensor([90.0, 60, 90, 60]))
    solid = is_solid(inside)
    order = result["scores"][solid].argsort(descending=True, stable=True)
    assert torch.allclose(ours.scores, result["scores"][solid][order], atol=1e-4)
    assert torch.equal(ours.labels, result["labels"][solid][order])
    assert torch.allclose(ours.boxes_xyxy, inside[solid][order], atol=0.05)


@pytest.mark.parametrize("family", ["grounding_dino", "mm_grounding_dino"])
def test_grounding_dino_scores_a_class_by_the_mean_over_its_tokens(family: str, folders: dict[str, Path]) -> None:
    image = (an_image(0, 60, 90) * 255).round() / 255
    ours = load_promptable(str(folders[family]), SPACE, PROMPTS, 0.0).predict([image])[0]
    output, inputs, result = library_says(folders[family], image, " . ".join(PROMPTS) + " .")
    words = inputs["input_ids"][0].tolist()
    assert words == [101, 1033, 1034, 1035, 1036, 1012, 1039, 1012, 1030, 1032, 1012, 102]
    tokens = output.logits[0].sigmoid()
    scores = torch.stack([tokens[:, 1:5].mean(dim=1), tokens[:, 6], tokens[:, 8:10].mean(dim=1)], dim=1)
    order = scores.max(dim=1).values.argsort(descending=True, stable=True)
    assert ours.class_scores is not None
    assert torch.allclose(ours.class_scores, scores[order], atol=0.02), "the library resizes whole numbers"
    inside = result["boxes"][order].clamp(min=0).minimum(torch.tensor([90.0, 60, 90, 60]))
    assert torch.allclose(ours.boxes_xyxy, inside, atol=0.05)


def test_more_prompts_than_a_text_holds_take_several(tmp_path: Path) -> None:
    texts = _texts(bert_tokenizer(tmp_path), ["car", "red square", "bicycle", "blue car"], longest=8)
    assert [text.token_ids.tolist() for text in texts] == [
        [101, 1039, 1012, 1030, 1032, 1012, 102],
        [101, 1036, 1012, 1031, 1039, 1012, 102],
    ]
    assert texts[1].of_prompt.tolist() == [[0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0]]
    with pytest.raises(InputError, match="'a photo of a red car' has 6 tokens; the text of this model has 8; shorten it"):
        _texts(bert_tokenizer(tmp_path), ["a photo of a red car"], longest=8)


def test_boxes_found_for_some_prompts_score_nothing_for_the_others() -> None:
    first, second = torch.tensor([[[0.5, 0.25]]]), torch.tensor([[[0.75], [1.0]]])
    assert joined_scores([first, second]).tolist() == [[[0.5, 0.25, 0], [0, 0, 0.75], [0, 0, 1]]]


def test_what_is_no_promptable_model_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"could not be fetched from the hub|cannot be read"):
        load_promptable(str(tmp_path), SPACE, PROMPTS, 0.1)
    transformers.DetrConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is detr; choose one that is grounding-dino, mm-grounding-dino, owlv2, sam3"):
        load_promptable(str(tmp_path), SPACE, PROMPTS, 0.1)
