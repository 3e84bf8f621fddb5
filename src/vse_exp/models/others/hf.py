"""`hf:NAME_OR_FOLDER`: dual encoders of transformers (CLIP, SigLIP, SigLIP 2, ALIGN, …)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.models.checkpoint import load_checkpoint
from vse_exp.models.dual import DualEncoder
from vse_exp.models.others import OtherEncoder, Pictures, loading, needs
from vse_exp.models.sharing import CONFIG, FILES, is_shared
from vse_exp.text.vocabulary import TokenizedCaptions, inside_mask


class Tokens:
    """Captions as a tokenizer of transformers cuts them, off after `max_length` pieces.

    With `fill` all are filled to that length, as SigLIP was trained: its text tower looks at the
    filling too.
    """

    def __init__(self, tokenizer: Any, max_length: int, fill: bool) -> None:
        self.tokenizer, self.max_length, self.fill = tokenizer, max_length, fill

    def __call__(self, captions: Sequence[str]) -> TokenizedCaptions:
        """Ids of all captions, with those that mark their ends."""
        found = self.tokenizer(
            list(captions),
            truncation=True,
            max_length=self.max_length,
            padding="max_length" if self.fill else False,
        )
        return TokenizedCaptions.of(found["input_ids"])


class HuggingFace(OtherEncoder):
    """A model of transformers that has `get_text_features` and `get_image_features`."""

    @property
    def kind(self) -> str:
        return type(self.model).__name__

    def embed_captions(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else inside_mask(tokens, lengths).long()
        return _unit(self.model.get_text_features(input_ids=tokens, attention_mask=mask))

    def embed_images(self, images: Any) -> Tensor:
        return _unit(self.model.get_image_features(**images))


def _unit(output: Any) -> Tensor:
    """Unit rows of what transformers gives: the vectors, or since its version 5 an output that
    has them."""
    return normalize(getattr(output, "pooler_output", output), dim=-1)


def load(name: str, trust: Sequence[str] = ()) -> DualEncoder:
    """The model in a folder, or of that name on the Hugging Face hub, transformers' or one that
    `vse_exp.export` wrote."""
    needs("transformers", "hf", "hf")
    from huggingface_hub import hf_hub_download, snapshot_download
    from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    folder = Path(name).expanduser()
    here = folder.is_dir()
    place = str(folder) if here else name
    with loading(f"hf:{name}"):
        if not here:
            folder = Path(hf_hub_download(name, CONFIG)).parent
        if is_shared(folder):
            if not here:
                folder = Path(snapshot_download(name, allow_patterns=list(FILES)))
            return load_checkpoint(folder, trust=trust)
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        model = AutoModel.from_pretrained(place, dtype=torch.float32, trust_remote_code=False)
        if not hasattr(model, "get_text_features") or not hasattr(model, "get_image_features"):
            raise UserError(
                f"hf:{name} is a {type(model).__name__}, which does not embed both sentences and "
                "images: give a CLIP, SigLIP, ALIGN or another dual encoder."
            )
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        processor = AutoImageProcessor.from_pretrained(place, trust_remote_code=False)
    longest = config.text_config.max_position_embeddings
    fill = config.model_type.startswith("siglip")
    tokens = Tokens(tokenizer, min(longest, tokenizer.model_max_length), fill)
    pictures = Pictures(partial(processor, return_tensors="pt"))
    return HuggingFace(model, tokens, pictures).eval()
