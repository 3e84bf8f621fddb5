"""Visual-semantic embeddings: train, evaluate and use image-sentence retrieval models.

import vse_exp

model = vse_exp.load_model("best.ckpt")
vectors = model.encode_sentences(["two dogs in the snow"])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vse_exp.compat.loading import load_model
    from vse_exp.data import scenes
    from vse_exp.data.layout import Layout
    from vse_exp.errors import UserError
    from vse_exp.evaluation.directions import i2t, t2i
    from vse_exp.evaluation.evaluator import evalrank
    from vse_exp.evaluation.metrics import Metric
    from vse_exp.losses.contrast import ContrastiveLoss, Past, contrast
    from vse_exp.models.checkpoint import save_model
    from vse_exp.models.dual import DualEncoder
    from vse_exp.models.image import ImageEncoder
    from vse_exp.models.pooling import Pooling
    from vse_exp.models.sentence import SentenceEncoder
    from vse_exp.models.vse import VSE
    from vse_exp.pages.showing import show
    from vse_exp.retrieval.build import build_gallery
    from vse_exp.retrieval.captioning import retrieve_captions, retrieve_images
    from vse_exp.retrieval.opening import open_gallery
    from vse_exp.retrieval.regularities import regularities
    from vse_exp.similarity import Similarity
    from vse_exp.text.tokenizers import Tokenizer

__version__ = "0.1.0"

# the public names and where they live; imported at first use, so that `import vse_exp` is quick
_PUBLIC = {
    "ContrastiveLoss": "vse_exp.losses.contrast",
    "DualEncoder": "vse_exp.models.dual",
    "ImageEncoder": "vse_exp.models.image",
    "Layout": "vse_exp.data.layout",
    "Metric": "vse_exp.evaluation.metrics",
    "Past": "vse_exp.losses.contrast",
    "Pooling": "vse_exp.models.pooling",
    "SentenceEncoder": "vse_exp.models.sentence",
    "Similarity": "vse_exp.similarity",
    "Tokenizer": "vse_exp.text.tokenizers",
    "UserError": "vse_exp.errors",
    "VSE": "vse_exp.models.vse",
    "build_gallery": "vse_exp.retrieval.build",
    "contrast": "vse_exp.losses.contrast",
    "evalrank": "vse_exp.evaluation.evaluator",
    "i2t": "vse_exp.evaluation.directions",
    "load_model": "vse_exp.compat.loading",
    "open_gallery": "vse_exp.retrieval.opening",
    "regularities": "vse_exp.retrieval.regularities",
    "retrieve_captions": "vse_exp.retrieval.captioning",
    "retrieve_images": "vse_exp.retrieval.captioning",
    "save_model": "vse_exp.models.checkpoint",
    "scenes": "vse_exp.data.scenes",
    "show": "vse_exp.pages.showing",
    "t2i": "vse_exp.evaluation.directions",
}

__all__ = [
    "VSE",
    "ContrastiveLoss",
    "DualEncoder",
    "ImageEncoder",
    "Layout",
    "Metric",
    "Past",
    "Pooling",
    "SentenceEncoder",
    "Similarity",
    "Tokenizer",
    "UserError",
    "build_gallery",
    "contrast",
    "evalrank",
    "i2t",
    "load_model",
    "open_gallery",
    "regularities",
    "retrieve_captions",
    "retrieve_images",
    "save_model",
    "scenes",
    "show",
    "t2i",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        home = import_module(_PUBLIC[name])
        return getattr(home, name, home)  # `scenes` is a module itself
    raise AttributeError(f"module 'vse_exp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
