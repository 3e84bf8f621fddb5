"""Tiny dual encoders with random weights, in the files that their libraries write."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 48, "vocab_size": 600}  # fmt: skip
IMAGE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 48, "image_size": 32, "patch_size": 8}  # fmt: skip


WORDS = "a the red blue green yellow large small circle square left right above below of".split()


def write_clip(folder: Path, words: list[str] | None = None, text: Any = (), **image: Any) -> Path:
    """A CLIP of transformers, d = 16: by `words`, or by CLIP's tokenizer without merges."""
    import transformers

    tokenizer = _byte_level() if words is None else _word_level(words, "<s> $A </s>")
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = transformers.CLIPConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 40,
                     "pad_token_id": 0, **ends, **dict(text)},
        vision_config={**IMAGE, **image},
        projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = config.vision_config.image_size
    _write_processor(folder, "CLIPImageProcessor", {"shortest_edge": size}, crop=size)
    return folder


def write_siglip(folder: Path, **image: Any) -> Path:
    """A SigLIP of transformers, d = 32, whose captions are filled up to 24 pieces."""
    import transformers

    tokenizer = _word_level(WORDS, "$A </s>")
    config = transformers.SiglipConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 24,
                     "pad_token_id": tokenizer.pad_token_id, "bos_token_id": 0,
                     "eos_token_id": tokenizer.eos_token_id, "projection_size": 32},
        vision_config={**IMAGE, **image},
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.SiglipModel(config)
    torch.nn.init.constant_(model.logit_scale, 4.7)
    torch.nn.init.constant_(model.logit_bias, -12.9)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = config.vision_config.image_size
    _write_processor(folder, "SiglipImageProcessor", {"height": size, "width": size}, mean=0.5)
    return folder


def _byte_level() -> Any:
    import transformers
    from tokenizers import pre_tokenizers

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    ends = ["<|startoftext|>", "<|endoftext|>"]
    pieces = [*bytes_, *(f"{one}</w>" for one in bytes_), *ends]
    with TemporaryDirectory() as folder:  # from files, as any version of the library
        vocab = {piece: place for place, piece in enumerate(pieces)}
        Path(folder, "vocab.json").write_text(json.dumps(vocab))
        Path(folder, "merges.txt").write_text("#version: 0.2\n")
        return transformers.CLIPTokenizerFast.from_pretrained(folder)


def _word_level(words: list[str], template: str) -> Any:
    import transformers
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    vocab = {word: place for place, word in enumerate(["<unk>", "<pad>", "<s>", *words, "</s>"])}
    tokenizer = Tokenizer(WordLevel(vocab, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    ends = [(word, vocab[word]) for word in ("<s>", "</s>")]
    tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
    )


def _write_processor(
    folder: Path, kind: str, size: dict[str, int], crop: int | None = None, mean: float = 0.4
) -> None:
    settings = {
        "image_processor_type": kind, "do_resize": True, "size": size, "resample": 3,
        "do_center_crop": crop is not None, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [mean] * 3, "image_std": [0.25] * 3,
    }  # fmt: skip
    if crop is not None:
        settings["crop_size"] = {"height": crop, "width": crop}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def write_open_clip(folder: Path, custom: bool = False, **image: Any) -> Path:
    """A CLIP of OpenCLIP, d = 16; `custom` with the text tower as a part of its own."""
    import open_clip
    from safetensors.torch import save_file

    config: dict[str, Any] = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8,
                       "head_width": 16, **image},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2,
                     "layers": 2},
    }  # fmt: skip
    torch.manual_seed(0)
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    cut = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bicubic",
           "resize_mode": "shortest"}  # fmt: skip
    content = {"model_cfg": config | {"custom_text": custom}, "preprocess_cfg": cut}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    return folder
