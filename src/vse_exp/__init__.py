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
    from vse_exp.errors import UserError
    from vse_exp.evaluation.directions import i2t, t2i
    from vse_exp.evaluation.evaluator import evalrank
    from vse_exp.models.checkpoint import save_model
    from vse_exp.models.dual import DualEncoder
    from vse_exp.models.vse import VSE
    from vse_exp.pages.showing import show
    from vse_exp.retrieval.build import build_gallery
    from vse_exp.retrieval.captioning import retrieve_captions, retrieve_images
    from vse_exp.retrieval.opening import open_gallery
    from vse_exp.retrieval.regularities import regularities

__version__ = "0.1.0"

# the public names and where they live; imported at first use, so that `import vse_exp` is quick
_PUBLIC = {
    "UserError": "vse_exp.errors",
    "DualEncoder": "vse_exp.models.dual",
    "VSE": "vse_exp.models.vse",
    "build_gallery": "vse_exp.retrieval.build",
    "evalrank": "vse_exp.evaluation.evaluator",
    "i2t": "vse_exp.evaluation.directions",
    "load_model": "vse_exp.compat.loading",
    "open_gallery": "vse_exp.retrieval.opening",
    "regularities": "vse_exp.retrieval.regularities",
    "retrieve_captions": "vse_exp.retrieval.captioning",
    "retrieve_images": "vse_exp.retrieval.captioning",
    "save_model": "vse_exp.models.checkpoint",
    "show": "vse_exp.pages.showing",
    "t2i": "vse_exp.evaluation.directions",
}

__all__ = [
    "VSE",
    "DualEncoder",
    "UserError",
    "build_gallery",
    "evalrank",
    "i2t",
    "load_model",
    "open_gallery",
    "regularities",
    "retrieve_captions",
    "retrieve_images",
    "save_model",
    "show",
    "t2i",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'vse_exp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
