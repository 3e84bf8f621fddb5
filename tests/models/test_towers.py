"""Towers of transformers and OpenCLIP, against what these libraries themselves give."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from dual_models import pooled
from tower_models import write_clip, write_open_clip, write_siglip
from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.losses import InfoNCELoss, SigmoidLoss
from vse_exp.models.checkpoint import save_model
from vse_exp.models.others import Pictures
from vse_exp.models.towers.image import ImageTower
from vse_exp.models.towers.text import TextTower
from vse_exp.models.vse import VSE
from vse_exp.pages.card import export_model
from vse_exp.parts import build
from vse_exp.similarity import Cosine, Logit
from vse_exp.text.vocabulary import Vocabulary
from vse_exp.training.building import complete_model

transformers = pytest.importorskip("transformers", reason="needs the extra `text`")
open_clip = pytest.importorskip("open_clip", reason="needs the extra `openclip`")

CAPTIONS = [
    "a red circle above the blue square", "", "The small dog’s 12 tails &amp; _ears_, it's LARGE!",
    "left of " * 60, "\ta  crème brûlée 中文 🙂", "<end_of_text>",
]  # fmt: skip
KINDS: dict[str, Callable[[Path], Path]] = {
    "clip": write_clip,
    "siglip": write_siglip,
    "openclip": write_open_clip,
    "openclip_custom": lambda folder: write_open_clip(folder, custom=True),
    "openclip_resnet": lambda folder: write_open_clip(
        folder, layers=[1, 1, 1, 1], width=8, patch_size=None
    ),
}
each_kind = pytest.mark.parametrize("kind", KINDS)
with_adapters = pytest.mark.parametrize("kind", [kind for kind in KINDS if "resnet" not in kind])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("towers")
    return {kind: write(root / kind) for kind, write in KINDS.items()}


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=generator)


def node_of(folder: Path | str, **keys: Any) -> dict[str, Any]:
    towers = {"encoder": "text.TextTower", "image_encoder": "image.ImageTower"}
    sides = {
        side: {"_target_": f"vse_exp.models.towers.{name}", "model": str(folder), **keys}
        for side, name in towers.items()
    }
    return complete_model({"_target_": "vse_exp.models.vse.VSE", "dim": None, **sides}, seed=1)


@cache
def words_of(folder: str) -> Vocabulary:
    return TextTower.own_vocabulary({"model": folder}, lambda: Vocabulary([]))


def model_of(folder: Path | str, **keys: Any) -> VSE:
    """A model as a training has it at its start."""
    node = node_of(folder, **keys)
    torch.manual_seed(1)
    words = words_of(str(folder))
    model = build(node, words, None, where="model")
    model.sentence_encoder.start(words.encode([]), words, Path())
    model.image_encoder.start(lambda: [], 1)
    return model.eval()


def tower_loss(model: VSE, pictures: torch.Tensor) -> torch.Tensor:
    batch = model.vocabulary.encode(CAPTIONS).batch(np.arange(3))
    return (model.embed_captions(*batch) @ model.embed_images(pictures).T).logsumexp(0).sum()


def trained(model: VSE) -> set[str]:
    return {name for name, weights in model.named_parameters() if weights.requires_grad}


@torch.no_grad()
def by_transformers(folder: Path, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    longest = model.config.text_config.max_position_embeddings
    padding = "max_length" if "siglip" in folder.name else True
    ids = tokenizer(
        CAPTIONS, padding=padding, truncation=True, max_length=longest, return_tensors="pt"
    )
    if padding == "max_length":
        ids = {"input_ids": ids["input_ids"]}
    else:
        ids = {key: ids[key] for key in ("input_ids", "attention_mask")}
    mean = 0.5 if "siglip" in folder.name else 0.4
    pixels = (pictures / 255 - mean) / 0.25
    captions = pooled(model.get_text_features(**ids))
    return captions, pooled(model.get_image_features(pixel_values=pixels))


@torch.no_grad()
def by_open_clip(folder: Path, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    name = f"local-dir:{folder}"
    model, tokenizer = open_clip.create_model(name).eval(), open_clip.get_tokenizer(name)
    pixels = (pictures / 255 - 0.5) / 0.25
    return model.encode_text(tokenizer(CAPTIONS[:-1])), model.encode_image(pixels)


@each_kind
def test_the_vectors_are_the_librarys_own(
    kind: str, folders: dict[str, Path], pictures: torch.Tensor
) -> None:
    model = model_of(folders[kind])
    reference = by_open_clip if "openclip" in kind else by_transformers
    captions, images = (normalize(rows, dim=1) for rows in reference(folders[kind], pictures))
    ours = model.encode_sentences(CAPTIONS[: len(captions)])
    np.testing.assert_allclose(ours, captions.numpy(), atol=1e-6)
    np.testing.assert_allclose(model.encode_images(pictures.numpy()), images.numpy(), atol=1e-6)
    assert model.dim == (32 if kind == "siglip" else 16)


@each_kind
def test_pictures_are_cut_as_the_library_does(kind: str, folders: dict[str, Path]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    if "openclip" in kind:
        _, _, cut = open_clip.create_model_and_transforms(f"local-dir:{folders[kind]}")
        expected = cut(picture)[None]
    else:
        processor = transformers.AutoImageProcessor.from_pretrained(folders[kind], backend="pil")
        expected = torch.tensor(np.asarray(processor(picture)["pixel_values"]))
    settings = ImageTower.preprocessing_of(node_of(folders[kind])["image_encoder"])
    found = settings.normalize(settings.views_of(picture))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_pieces_of_open_clip(folders: dict[str, Path]) -> None:
    words = words_of(str(folders["openclip"]))
    expected = open_clip.get_tokenizer(f"local-dir:{folders['openclip']}")(CAPTIONS[:-1])
    assert words.encode(CAPTIONS[:-1]).tokens.reshape(-1, 20).tolist() == expected.tolist()
    assert words.tokenize("Dogs run") == ["dogs</w>", "run</w>"]
    again = type(words).from_dict(words.to_dict())
    assert again.to_dict() == words.to_dict()


@with_adapters
@pytest.mark.parametrize("learn", ["all", "lora"])
def test_a_checkpoint_needs_neither_folder_nor_network(
    kind: str, learn: str, folders: dict[str, Path], pictures: torch.Tensor, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copytree(folders[kind], tmp_path / "moved")
    model = model_of(tmp_path / "moved", learn=learn)
    save_model(model, tmp_path / "model.ckpt")
    shutil.rmtree(tmp_path / "moved")
    monkeypatch.setattr(socket, "socket", None)
    loaded = load_model(tmp_path / "model.ckpt")
    for encode, given in (("encode_sentences", CAPTIONS), ("encode_images", pictures.numpy())):
        expected = getattr(model, encode)(given)
        np.testing.assert_allclose(getattr(loaded, encode)(given), expected, atol=1e-6)


@each_kind
def test_what_learns(kind: str, folders: dict[str, Path], pictures: torch.Tensor) -> None:
    whole = model_of(folders[kind])
    everything = {name for name, _ in whole.named_parameters()}
    assert trained(whole) == everything
    heads = trained(model_of(folders[kind], learn="heads"))
    assert 0 < len(heads) < len(everything) / 2
    assert all("proj" in name or "head" in name or "attnpool" in name for name in heads)
    assert trained(model_of(folders[kind], learn="none")) == set()
    later = model_of(folders[kind], unfreeze_epoch=2, gradient_checkpointing=True).train()
    assert not any(part.training for part in later.sentence_encoder.tower.modules())
    for epoch, expected in ((1, heads), (2, everything), (1, heads)):
        later.sentence_encoder.set_epoch(epoch)
        later.image_encoder.set_epoch(epoch)
        assert trained(later) == expected
        tower_loss(later, pictures).backward()
        reached = {n for n, weights in later.named_parameters() if weights.grad is not None}
        assert reached == expected
        later.zero_grad()


@each_kind
def test_gradient_checkpointing_changes_no_gradient(
    kind: str, folders: dict[str, Path], pictures: torch.Tensor
) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = model_of(folders[kind], gradient_checkpointing=checkpointing).train()
        tower_loss(model, pictures).backward()
        gradients.append([weights.grad for weights in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


@with_adapters
def test_adapters_and_what_they_become(
    kind: str, folders: dict[str, Path], pictures: torch.Tensor, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="needs the extra `lora`")
    plain, model = model_of(folders[kind]), model_of(folders[kind], learn="lora", lora_rank=2)
    np.testing.assert_allclose(
        model.encode_sentences(CAPTIONS), plain.encode_sentences(CAPTIONS), atol=1e-6
    )
    heads = trained(model_of(folders[kind], learn="heads"))
    adapters = {name for name in trained(model) if ".lora_" in name}
    assert trained(model) == heads | adapters
    assert len(adapters) >= 8
    model.train()
    for name, weights in model.named_parameters():
        if name in adapters:
            torch.nn.init.normal_(weights, std=0.2)
    tower_loss(model, pictures).backward()
    assert all(model.get_parameter(name).grad is not None for name in heads | adapters)
    model.eval()
    captions, images = model.encode_sentences(CAPTIONS), model.encode_images(pictures.numpy())
    assert np.abs(captions - plain.encode_sentences(CAPTIONS)).max() > 0.01
    model.merge_adapters()
    assert not any(".lora_" in name for name in model.state_dict())
    save_model(model, tmp_path / "merged.ckpt")
    for merged in (model, load_model(tmp_path / "merged.ckpt")):
        np.testing.assert_allclose(merged.encode_sentences(CAPTIONS), captions, atol=1e-6)
        np.testing.assert_allclose(merged.encode_images(pictures.numpy()), images, atol=1e-6)


def test_a_training_begins_at_the_models_temperature(folders: dict[str, Path]) -> None:
    assert model_of(folders["clip"]).logit == pytest.approx((1 / 0.07, 0), rel=1e-3)
    siglip = model_of(folders["siglip"]).logit
    assert siglip == pytest.approx((np.exp(4.7), -12.9), rel=1e-5)
    loss = SigmoidLoss(temperature=None, bias=None)
    loss.use(Cosine(), siglip)
    assert loss.logit == pytest.approx(siglip, rel=1e-5)  # below min_temperature, its bound now
    fixed = InfoNCELoss(temperature=0.02)
    fixed.use(Cosine(), siglip)
    assert fixed.logit == pytest.approx(Logit(50.0))
    for unknown in (InfoNCELoss(temperature=None), SigmoidLoss(bias=None)):
        with pytest.raises(UserError, match="which bring one: give a number"):
            unknown.use(Cosine(), None)


def test_mistakes_are_told(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs model\.encoder\.model"):
        TextTower.complete({"model": None})
    with pytest.raises(UserError, match=r"no config\.json"):
        node_of(tmp_path)
    with pytest.raises(UserError, match="no such model"):
        node_of("openclip:ViT-Z-99")
    with pytest.raises(UserError, match=r"there is no .*open_clip_config\.json"):
        node_of(f"openclip:local-dir:{tmp_path}")
    with pytest.raises(UserError, match="a network of convolutions"):
        model_of(folders["openclip_resnet"], learn="lora")
    node = node_of(folders["clip"])["encoder"]
    with pytest.raises(UserError, match=r"set model\.dim=16"):
        build(node, 514, 24)
    shutil.copytree(folders["clip"], tmp_path / "clip")
    (tmp_path / "clip" / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"No preprocessor_config\.json"):
        node_of(tmp_path / "clip")


@pytest.mark.parametrize(
    ("library", "change", "said"),
    [
        ("transformers", {"vision_config": {"use_pretrained_backbone": True}}, "a download"),
        ("transformers", {"model_type": "bert"}, "no dual encoder"),
        ("open_clip", {"vision_cfg": {"timm_model_name": "hf-hub:evil/model"}}, "hf-hub:evil"),
        ("open_clip", {"text_cfg": {"hf_model_name": "evil/model"}}, "of other libraries"),
        ("os", {}, "of transformers or open_clip"),
    ],
)
def test_a_checkpoint_makes_no_library_fetch_or_import(
    library: str, change: dict[str, Any], said: str, folders: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    kind = "openclip_custom" if library == "open_clip" else "clip"
    save_model(model_of(folders[kind]), tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    for side in ("encoder", "image_encoder"):
        architecture = content["vse_exp"]["model"][side]["architecture"]
        architecture["library"] = library
        for key, value in change.items():
            inside = architecture["config"].get(key)
            nested = isinstance(inside, dict)
            architecture["config"][key] = {**inside, **value} if nested else value
    torch.save(content, tmp_path / "model.ckpt")
    monkeypatch.setattr(socket, "socket", None)
    with pytest.raises(UserError, match=said):
        load_model(tmp_path / "model.ckpt")


@each_kind
def test_a_library_loads_what_was_trained_here(
    kind: str, folders: dict[str, Path], tmp_path: Path, pictures: torch.Tensor
) -> None:
    """With adapters where peft is at hand: they become part of the weights."""
    adapters = kind != "openclip_resnet" and importlib.util.find_spec("peft") is not None
    model = model_of(folders[kind], learn="lora" if adapters else "all")
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.02 * torch.randn_like(weights)
    size = pictures.shape[-1]
    given = [*pictures[:, :, : size // 2].permute(0, 2, 3, 1).numpy()]  # to be cut
    given = [Image.fromarray(one).resize((70, 50)) for one in given]
    captions, images = model.encode_sentences(CAPTIONS[:-1]), model.encode_images(given)
    logit = {"scale": 20.0, "bias": -3.0}
    save_model(model, tmp_path / "best.ckpt", {"logit": logit})
    exported = export_model(str(tmp_path / "best.ckpt"), str(tmp_path / kind), as_library=True)
    prefix = "openclip:local-dir:" if "openclip" in kind else "hf:"
    names = [f"{prefix}{exported}", *([f"st:{exported}"] if kind == "clip" else [])]
    for name in names:
        if name.startswith("st:"):
            pytest.importorskip("sentence_transformers", reason="needs the extra `text`")
        loaded = load_model(name)
        np.testing.assert_allclose(loaded.encode_sentences(CAPTIONS[:-1]), captions, atol=2e-6)
        np.testing.assert_allclose(loaded.encode_images(given), images, atol=3e-3)
        if name.startswith("hf:"):  # with torchvision, a step of grey apart, and asked for Pillow
            processor = transformers.AutoImageProcessor.from_pretrained(exported, backend="pil")
            fast, slow = loaded.pictures, Pictures(partial(processor, return_tensors="pt"))
            theirs, same = (one.prepare(given)["pixel_values"] for one in (fast, slow))
            assert (theirs - same).abs().max() * max(model.preprocessing.std) < 1.001
            loaded.pictures = slow
            np.testing.assert_allclose(loaded.encode_images(given), images, atol=2e-6)
    scale = load_model(names[0]).logit_scale
    assert scale == pytest.approx(20)
    again = model_of(exported)  # and as a start of further training
    np.testing.assert_allclose(again.encode_sentences(CAPTIONS[:-1]), captions, atol=2e-6)
    np.testing.assert_allclose(again.encode_images(given), images, atol=2e-6)
