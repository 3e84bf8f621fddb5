"""torch.compile for the parts of a model that it can help."""

from __future__ import annotations

import os
import shutil

from vse_exp.errors import UserError
from vse_exp.models.pretrained_text import PretrainedText
from vse_exp.models.transformer import Transformer
from vse_exp.models.vse import VSE

_COMPILERS = ("g++", "clang++", "c++", "cl")


def compile_parts(model: VSE) -> None:
    """Compile the image encoder and the transformers in place; names in checkpoints stay.

    Recurrent encoders and bags of words have kernels of their own. UserError without a compiler.
    """
    if not (os.environ.get("CXX") or any(map(shutil.which, _COMPILERS))):
        raise UserError(
            "compile=true needs a C++ compiler (g++ or clang++): install one, or set compile=false."
        )
    model.image_encoder.compile()
    encoder = model.sentence_encoder
    if isinstance(encoder, PretrainedText):
        encoder.transformer.compile(dynamic=True)  # captions of many lengths
    elif isinstance(encoder, Transformer):
        encoder.compile(dynamic=True)
