"""Graphs of both encoders: ONNX Runtime gives torch's rows, and a program without torch finds the
same images."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from commands import run_command
from small_models import POOLINGS, small_model
from text_model import write_text_model
from tower_models import write_clip
from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.evaluation.embed import embed_files
from vse_exp.export import main as export
from vse_exp.index import main as index
from vse_exp.models.backbone import BackboneImageEncoder
from vse_exp.models.bow import BagOfWords
from vse_exp.models.checkpoint import save_model
from vse_exp.models.feature_encoders import LinearImageEncoder
from vse_exp.models.fused import FusedText
from vse_exp.models.onnx_export import image_network, run_in_onnx, sentence_network
from vse_exp.models.pretrained_text import PretrainedText
from vse_exp.models.rnn import GRU
from vse_exp.models.sentence import SentenceEncoder
from vse_exp.models.text_models import read_architecture, read_subwords
from vse_exp.models.towers.image import ImageTower
from vse_exp.models.towers.library import find, library
from vse_exp.models.towers.text import TextTower
from vse_exp.models.vse import VSE
from vse_exp.text.joined import JoinedVocabulary
from vse_exp.text.tokenizers import Stems
from vse_exp.text.vocabulary import Vocabulary

pytest.importorskip("onnxruntime", reason="graphs are run by the extra `onnx`")

CAPTIONS = [
    "a dog runs",
    "two men on a red bus",
    "snow",
    "the dogs sat on a bus and ran on snow",
    "x",
]
PIECES = "a dog dogs runs two men on red bus snow the sat and ran".split()
VOCABULARY = Vocabulary.build(CAPTIONS[:-1])
DEEP = {"bidirectional": True, "num_layers": 2, "recurrent_bias": True}


def same_in_onnx(model: VSE, images: object) -> None:
    """Sentences and images encoded by torch, and by ONNX Runtime."""
    expected = model.eval().encode_sentences(CAPTIONS), model.encode_images(images)
    run_in_onnx(model)
    found = model.encode_sentences(CAPTIONS, batch_size=3), model.encode_images(images)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("pooling", [None, *(name for name in POOLINGS if name != "random")])
@pytest.mark.parametrize("name", ["bow", "gru", "lstm", "transformer"])
def test_encoders_of_words(name, pooling):
    keys = DEEP if name == "lstm" or (name, pooling) == ("gru", "gpo") else {}
    torch.manual_seed(0)
    text = {"name": name, "pooling": pooling, **keys}
    model = small_model(VOCABULARY, text=text, similarity=None)
    same_in_onnx(model, torch.randn(5, 12))


@pytest.mark.parametrize("pooling", ["mean", "max", "gpo", "attention", "random"])
def test_regions(pooling):
    torch.manual_seed(0)
    keys = {"name": "mlp", "pooling": pooling, "power": 0.5, "batch_norm": True}
    same_in_onnx(small_model(VOCABULARY, images=keys), torch.randn(5, 7, 12))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    pytest.importorskip("transformers", reason="pre-trained text needs the extra `text`")
    folder = str(write_text_model(tmp_path_factory.mktemp("text"), PIECES))
    architecture, _ = read_architecture(folder)
    encoder = partial(PretrainedText, architecture=architecture, pooling=POOLINGS["mean"])
    return encoder, read_subwords(folder)


def test_a_pretrained_text_model_alone_and_beside_words(pretrained):
    encoder, pieces = pretrained
    both = partial(FusedText, words=GRU, sentences=encoder)
    for text, vocabulary in [
        (encoder, pieces),
        (both, JoinedVocabulary(VOCABULARY, pieces)),
    ]:
        model = VSE(vocabulary, 12, dim=8, encoder=text, image_encoder=LinearImageEncoder)
        same_in_onnx(model, torch.randn(5, 12))


def test_towers_and_pictures(tmp_path):
    pytest.importorskip("transformers", reason="towers need the extra `hf`")
    architecture, place = find(str(write_clip(tmp_path / "clip")))
    keys = {"architecture": architecture}
    transform = library(architecture).read_preprocessing(place).to_dict()
    clip = VSE(
        library(architecture).read_vocabulary(place), None, dim=16,
        encoder=partial(TextTower, **keys),
        image_encoder=partial(ImageTower, **keys, transform=transform),
    )  # fmt: skip
    cnn = VSE(VOCABULARY, None, dim=8, encoder=BagOfWords, image_encoder=BackboneImageEncoder)
    for model in (clip, cnn):
        assert model.preprocessing is not None
        same_in_onnx(model, torch.randint(256, (3, *model.preprocessing.shape)).float())


class Counting(SentenceEncoder):
    """Does by Python what a graph cannot: it looks at a value."""

    def forward(self, tokens, lengths=None):
        size = int(tokens.max()) if len(tokens) < 3 else 1
        return torch.eye(self.dim)[[size % self.dim] * len(tokens)]


def test_what_has_no_graph_or_another_is_refused():
    model = VSE(VOCABULARY, 12, dim=8, encoder=Counting, image_encoder=LinearImageEncoder)
    with pytest.raises(UserError, match="The sentence encoder's ONNX graph"):
        sentence_network(model.eval())
    image_network(model)


@pytest.mark.parametrize("kind", ["stems", "fused"])
def test_a_gallery_is_searched_without_torch(kind, pretrained, tmp_path, capsys):
    """The script of examples/, where neither torch nor vse_exp can be imported."""
    torch.manual_seed(0)
    stems = Vocabulary.build(CAPTIONS[:-1], Stems(ngram=2))
    if kind == "stems":
        model = small_model(stems, text={"name": "gru"})
    else:
        encoder, pieces = pretrained
        both = partial(FusedText, words=BagOfWords, sentences=encoder)
        vocabulary = JoinedVocabulary(stems, pieces)
        model = VSE(vocabulary, 12, dim=8, encoder=both, image_encoder=LinearImageEncoder)
    save_model(model, tmp_path / "model.ckpt")
    np.save(
        tmp_path / "photos_ims.npy", np.random.default_rng(0).normal(size=(30, 12)).astype("f4")
    )
    names = [f"{row:02d}.jpg" for row in range(30)]
    (tmp_path / "photos_images.txt").write_text("\n".join(names) + "\n")
    checkpoint = f"checkpoint={tmp_path / 'model.ckpt'}"
    run_command(export, checkpoint, f"output={tmp_path / 'mine'}", "onnx=true", capsys=capsys)
    keys = [f"features={tmp_path / 'photos_ims.npy'}", f"output={tmp_path / 'gallery'}"]
    run_command(index, checkpoint, *keys, "runtime=onnx", capsys=capsys)
    about = json.loads((tmp_path / "mine/onnx/model.json").read_text())
    assert (about["dim"], about["similarity"]) == (8, "Cosine")
    script = Path(__file__).parents[2] / "examples/search_without_torch.py"
    query = "The dogs ran on a red bus, unheard of!"
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['vse_exp'] = None; "
        f"sys.argv = {['', str(tmp_path / 'mine/onnx'), str(tmp_path / 'gallery'), query]!r}; "
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [line.split() for line in done.stdout.splitlines()]
    loaded = load_model(tmp_path / "model.ckpt")
    rows = loaded.encode_images(np.load(tmp_path / "photos_ims.npy"))
    scores = rows @ loaded.encode_sentences([query])[0]
    best = np.argsort(-scores)[:10]
    assert [name for _, name in found] == [names[row] for row in best]
    np.testing.assert_allclose([float(score) for score, _ in found], scores[best], atol=1e-4)


def test_files_are_embedded_in_onnx(tmp_path):
    save_model(small_model(VOCABULARY, text={"name": "lstm"}), tmp_path / "model.ckpt")
    (tmp_path / "captions.txt").write_text("\n".join(CAPTIONS) + "\n")
    config = {"captions": str(tmp_path / "captions.txt"), "features": None, "block": 4}
    rows = []
    for runtime in ("torch", "onnx"):
        model = load_model(tmp_path / "model.ckpt", runtime=runtime)
        assert model.runtime == runtime
        output = tmp_path / f"{runtime}.npy"
        embed_files(model, {**config, "batch_size": 3, "output": str(output)})
        rows.append(np.load(output))
    np.testing.assert_allclose(*rows, atol=1e-5)
    with pytest.raises(UserError, match="runtime=onnx is for CPUs"):
        load_model(tmp_path / "model.ckpt", "cuda", runtime="onnx")
