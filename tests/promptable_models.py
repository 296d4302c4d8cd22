"""Tiny promptable models with random weights, one of each family, saved as the library saves them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    BertTokenizerFast,
    CLIPTokenizerFast,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
)

WORDS = ["red", "blue", "square", "person", "riding", "a", "bicycle", "photo", "of", "car"]
DETR = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
DETR |= {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_queries": 12, "num_feature_levels": 3, "max_text_len": 16}
SWIN = {"model_type": "swin", "embed_dim": 12, "depths": [1, 1, 1], "num_heads": [1, 2, 2], "window_size": 4, "image_size": 64}
SWIN |= {"out_features": ["stage2", "stage3"]}
BERT = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
CLIP = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}


def bert_tokenizer(folder: Path) -> BertTokenizerFast:
    """The tokens that the models know by number are where BERT has them; every other word of ours is one token."""
    tokens = [f"[unused{i}]" for i in range(1100)]
    tokens[0], tokens[100], tokens[101], tokens[102], tokens[1012], tokens[1029] = "[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "?"
    tokens[1030 : 1030 + len(WORDS)] = WORDS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return BertTokenizerFast(str(folder / "vocab.txt"))


def clip_tokenizer(folder: Path, longest: int) -> CLIPTokenizerFast:
    """Letters are tokens."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=longest)


def save_grounding_dino(folder: Path, *, mm: bool = False) -> Path:
    tokenizer = bert_tokenizer(folder / "words")
    config_type, model_type = (
        (MMGroundingDinoConfig, MMGroundingDinoForObjectDetection)
        if mm
        else (GroundingDinoConfig, GroundingDinoForObjectDetection)
    )
    config = config_type(
        backbone_config=SWIN, text_config={**BERT, "vocab_size": len(tokenizer)}, encoder_n_points=2, decoder_n_points=2, **DETR
    )
    torch.manual_seed(0)
    model_type(config).save_pretrained(folder)
    image_processor = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(image_processor, tokenizer).save_pretrained(folder)
    return folder


def save_owlv2(folder: Path) -> Path:
    tokenizer = clip_tokenizer(folder / "words", 64)
    text = {**CLIP, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
    vision = {**CLIP, "image_size": 64, "patch_size": 16}
    torch.manual_seed(0)
    Owlv2ForObjectDetection(Owlv2Config(text_config=text, vision_config=vision, projection_dim=32)).save_pretrained(folder)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 64, "width": 64}), tokenizer).save_pretrained(folder)
    return folder


def save_sam3(folder: Path) -> Path:
    tokenizer = clip_tokenizer(folder / "words", 32)
    backbone = {**CLIP, "model_type": "sam3_vit_model", "image_size": 64, "patch_size": 16, "pretrain_image_size": 64}
    backbone |= {"window_size": 2, "global_attn_indexes": [0]}
    small = {"hidden_size": 32, "intermediate_size": 32, "num_layers": 1, "num_attention_heads": 4}
    config = Sam3Config(
        vision_config={"backbone_config": backbone, "fpn_hidden_size": 32, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]},
        text_config={**CLIP, "vocab_size": len(tokenizer), "max_position_embeddings": 32, "projection_dim": 32},
        geometry_encoder_config={**small},
        detr_encoder_config={**small},
        detr_decoder_config={**small, "num_queries": 10},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 4},
    )
    torch.manual_seed(0)
    Sam3Model(config).save_pretrained(folder)
    Sam3Processor(Sam3ImageProcessor(size={"height": 64, "width": 64}), tokenizer).save_pretrained(folder)
    return folder


SAVED = {
    "grounding_dino": save_grounding_dino,
    "mm_grounding_dino": lambda folder: save_grounding_dino(folder, mm=True),
    "owlv2": save_owlv2,
    "sam3": save_sam3,
}
"""By family: writes one to a folder and returns it."""
