"""Tiny dual encoders of other libraries, of random weights, with tokenizers made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WORDS = (
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    *"a the red blue green circle square triangle big small left right of above below two".split(),
)
SIDE = 32
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}
TEXT = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 12,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}


def tokenizer(ends: str) -> Any:
    """One of words; `ends` is how it marks a caption's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [("<eos>", 1), ("<bos>", 2)]
    words.post_processor = processors.TemplateProcessing(single=ends, special_tokens=marks)
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=12, **names)


def clip_folder(folder: Path, seed: int = 0) -> Path:
    """A CLIP of transformers: its causal text tower is read at the caption's end."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(seed)
    config = CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    tokenizer("<bos> $A <eos>").save_pretrained(folder)
    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    CLIPImageProcessor(**size).save_pretrained(folder)
    return folder


def siglip_folder(folder: Path, seed: int = 0) -> Path:
    """A SigLIP of transformers: its text tower looks at the filling too."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    torch.manual_seed(seed)
    SiglipModel(SiglipConfig(text_config=TEXT, vision_config=VISION)).save_pretrained(folder)
    tokenizer("$A <eos>").save_pretrained(folder)
    SiglipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def siglip2_folder(folder: Path) -> Path:
    """A SigLIP 2 of transformers, of pictures in their own proportions."""
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    torch.manual_seed(0)
    vision = {key: value for key, value in VISION.items() if key != "image_size"}
    config = Siglip2Config(text_config=TEXT, vision_config={**vision, "num_patches": 16})
    Siglip2Model(config).save_pretrained(folder)
    tokenizer("$A <eos>").save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    return folder


def align_folder(folder: Path) -> Path:
    """An ALIGN of transformers: an EfficientNet of two blocks, and a BERT."""
    from transformers import AlignConfig, AlignModel, EfficientNetImageProcessor

    torch.manual_seed(0)
    two = {"kernel_sizes": [3, 3], "strides": [1, 2], "expand_ratios": [1, 1]}
    channels = {"in_channels": [32, 8], "out_channels": [8, 16], "num_block_repeats": [1, 1]}
    scale = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "depthwise_padding": []}
    vision = {"image_size": SIDE, "hidden_dim": 16, **two, **channels, **scale}
    text = {key: value for key, value in TEXT.items() if not key.endswith("token_id")}
    config = AlignConfig(text_config=text, vision_config=vision, projection_dim=16)
    AlignModel(config).save_pretrained(folder)
    tokenizer("<bos> $A <eos>").save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    EfficientNetImageProcessor(size=size).save_pretrained(folder)
    return folder


def openclip_folder(folder: Path, seed: int = 0) -> Path:
    """An OpenCLIP, as its `local-dir:` reads it, with its own tokenizer of bytes."""
    import open_clip

    folder.mkdir(parents=True)
    tower = {"width": 16, "layers": 2, "heads": 2}
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, **tower},
    }
    torch.manual_seed(seed)
    state = open_clip.CLIP(**config).state_dict()
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    told = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(told))
    return folder


def st_folder(folder: Path, clip: Path) -> Path:
    """A model of sentence-transformers around a CLIP."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(clip), device="cpu").save(str(folder))
    return folder


def pooled(output: Any) -> torch.Tensor:
    """The vectors of transformers' calls, which from version 5 on return more beside them."""
    return getattr(output, "pooler_output", output)
