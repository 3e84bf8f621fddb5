"""The public face: what people call from a notebook."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

import vse_exp
from small_models import small_model
from vse_exp.text.vocabulary import Vocabulary


def test_every_public_name_is_there() -> None:
    for name in vse_exp.__all__:
        assert getattr(vse_exp, name) is not None
    assert set(vse_exp.__all__) <= set(dir(vse_exp))


def test_captions_and_images_are_retrieved_both_ways() -> None:
    captions = ["a dog", "a cat", "the red park"]
    model = small_model(Vocabulary.build(captions), 3).eval()
    features = np.eye(3, dtype=np.float32)
    gallery = vse_exp.build_gallery(
        model, images=features, image_names=["x", "y", "z"], captions=captions
    )
    scores = model.encode_images(features) @ model.encode_sentences(captions).T
    found = vse_exp.retrieve_captions(model, gallery, features[1], k=2)
    assert [hit.name for hit in found] == [captions[i] for i in np.argsort(-scores[1])[:2]]
    best = vse_exp.retrieve_images(model, gallery, "a cat", k=1)
    assert best[0].name == "xyz"[int(scores[:, 1].argmax())]


def test_the_package_alone_imports_quickly() -> None:
    code = "import sys, vse_exp; print(*(n for n in ('torch', 'lightning') if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
