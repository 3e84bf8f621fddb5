"""Models of other libraries: the same vectors as by their own calls, and their mistakes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dual_models import clip_folder, openclip_folder, pooled, siglip_folder, st_folder
from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.models.dual import DualEncoder
from vse_exp.models.ensemble import Ensemble

CAPTIONS = ["a red circle", "two small blue squares left of the big circle", "the square", "a"]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    sizes = [(40, 60), (64, 32), (33, 90)]
    return [Image.fromarray(random.integers(0, 256, (*s, 3), dtype=np.uint8)) for s in sizes]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="models of transformers")
    return clip_folder(tmp_path_factory.mktemp("clip"))


def unit(rows: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(rows, dim=-1).numpy()


def assert_same(rows: np.ndarray, expected: np.ndarray) -> None:
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_transformers(kind: str, tmp_path: Path, pictures: list[Image.Image]) -> None:
    transformers = pytest.importorskip("transformers", reason="models of transformers")
    folder = (clip_folder if kind == "clip" else siglip_folder)(tmp_path / kind)
    model = load_model(f"hf:{folder}")
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    fill = {"padding": True} if kind == "clip" else {"padding": "max_length", "max_length": 12}
    tokens = tokenizer(CAPTIONS, return_tensors="pt", truncation=True, **fill)
    # SigLIP was trained without a mask
    taken = ["input_ids"] if kind == "siglip" else ["input_ids", "attention_mask"]
    tokens = {key: tokens[key] for key in taken}
    assert_same(
        model.encode_sentences(CAPTIONS, batch_size=2),
        unit(pooled(theirs.get_text_features(**tokens))),
    )
    batch = processor(images=pictures, return_tensors="pt")
    assert_same(
        model.encode_images(pictures, batch_size=2),
        unit(pooled(theirs.get_image_features(**batch))),
    )
    assert model.logit_scale == pytest.approx(float(theirs.logit_scale.exp()))
    assert model.takes_pictures
    assert model.dim == model.encode_images(pictures[:1]).shape[1]
    assert kind in model.describe()


@torch.inference_mode()
def test_openclip(tmp_path: Path, pictures: list[Image.Image]) -> None:
    open_clip = pytest.importorskip("open_clip", reason="models of OpenCLIP")
    name = f"local-dir:{openclip_folder(tmp_path / 'clip')}"
    model = load_model(f"openclip:{name}")
    theirs, transform = open_clip.create_model_from_pretrained(name)
    theirs.eval()
    tokens = open_clip.get_tokenizer(name)(CAPTIONS)
    assert_same(model.encode_sentences(CAPTIONS, batch_size=3), unit(theirs.encode_text(tokens)))
    batch = torch.stack([transform(picture) for picture in pictures])
    assert_same(model.encode_images(pictures), unit(theirs.encode_image(batch)))


def test_sentence_transformers(clip: Path, tmp_path: Path, pictures: list[Image.Image]) -> None:
    library = pytest.importorskip("sentence_transformers", reason="models of that library")
    folder = st_folder(tmp_path / "st", clip)
    model = load_model(f"st:{folder}")
    theirs = library.SentenceTransformer(str(folder), device="cpu")
    for rows, items in (
        (model.encode_sentences(CAPTIONS, batch_size=3), CAPTIONS),
        (model.encode_images(pictures, batch_size=2), pictures),
    ):
        assert_same(rows, theirs.encode(items, normalize_embeddings=True))


class Colours:
    """A factory's model: the mean colour of a picture, and that which a sentence names."""

    names = ("red", "green", "blue")

    def encode_sentences(self, captions: list[str]) -> np.ndarray:
        return np.array([[float(name in one) + 0.1 for name in self.names] for one in captions])

    def encode_images(self, pictures: list[Image.Image]) -> torch.Tensor:
        return torch.tensor([np.asarray(one).mean((0, 1)).tolist() for one in pictures])


def broken() -> SimpleNamespace:
    one = np.zeros((3, 2))
    return SimpleNamespace(encode_sentences=lambda _: one, encode_images=lambda _: one)


def test_a_function_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(Path(__file__).read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    model = load_model("python:my_models:Colours")
    pictures = [Image.new("RGB", (5, 5), colour) for colour in Colours.names]
    scores = model.encode_images(pictures) @ model.encode_sentences(list(Colours.names)).T
    assert scores.argmax(1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(np.linalg.norm(model.encode_images(pictures), axis=1), 1, rtol=1e-6)
    with pytest.raises(UserError, match=r"returned \(3, 2\) for 1 items"):
        load_model("python:my_models:broken")
    with pytest.raises(UserError, match="has no attribute 'nothing'"):
        load_model("python:my_models:nothing")
    with pytest.raises(UserError, match="must name a function"):
        load_model("python:my_models")


def test_joined_with_another(clip: Path, tmp_path: Path, pictures: list[Image.Image]) -> None:
    again = clip_folder(tmp_path / "b", seed=1)
    joined = load_model([f"hf:{clip}", f"hf:{again}"])
    assert isinstance(joined, Ensemble)
    each = [load_model(f"hf:{folder}") for folder in (clip, again)]

    def scores(model: DualEncoder) -> np.ndarray:
        return model.encode_images(pictures) @ model.encode_sentences(CAPTIONS).T

    np.testing.assert_allclose(scores(joined), sum(map(scores, each)) / 2, atol=1e-6)
    assert joined.fingerprint() != each[0].fingerprint() != each[1].fingerprint()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("hf:no/such-model", "Cannot load hf:no/such-model"),
        ("hf:no_such_folder", "Cannot load hf:no_such_folder"),
        ("st:no/such-model", "Cannot load st:no/such-model"),
        ("openclip:local-dir:nowhere", "Cannot load openclip:local-dir:nowhere"),
        ("openclip:ViT-B-32", "needs a model and its weights"),
        ("openclip:ViT-B-32:no_such_tag", "Cannot load openclip:ViT-B-32:no_such_tag"),
        ("clip:ViT-B-32", "there are files, and hf:…, openclip:…, python:…, st:…"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(
    source: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for package in ("transformers", "open_clip", "sentence_transformers"):
        pytest.importorskip(package, reason="the sentences of models that cannot be loaded")
    with pytest.raises(UserError, match=told) as caught:
        load_model(source)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 420


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for source, extra in (("hf:x", "hf"), ("st:x", "text"), ("openclip:x:y", "openclip")):
        with pytest.raises(UserError, match=rf"pip install 'vse_exp\[{extra}\]'"):
            load_model(source)


def test_a_text_model_is_none_of_both(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="models of transformers")
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertModel(BertConfig(**sizes, intermediate_size=8, vocab_size=9)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="BertModel, which does not embed both"):
        load_model(f"hf:{tmp_path}")


def test_features_are_no_pictures(clip: Path) -> None:
    with pytest.raises(UserError, match="takes pictures"):
        load_model(f"hf:{clip}").encode_images(np.zeros((2, 8), np.float32))
