"""Pre-trained text models, with a tiny one made here."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from text_model import write_text_model
from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.models.checkpoint import save_model
from vse_exp.models.dropping import leave_out
from vse_exp.models.pretrained_text import PretrainedText
from vse_exp.models.text_models import model_folder, read_subwords
from vse_exp.models.vse import VSE
from vse_exp.parts import build, check
from vse_exp.text.subwords import SubwordVocabulary

transformers = pytest.importorskip("transformers", reason="needs the extra `text`")

POOLINGS = {
    name: {"_target_": f"vse_exp.models.pooling.{name.capitalize()}Pooling"}
    for name in ("mean", "first")
}
PIECES = "a dog run ##s cat on the mat sits".split()
CAPTIONS = ["A dog runs", "the cat sits on the mat", "", "a zebra runs on a mat", "a dog runs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_model(tmp_path_factory.mktemp("text") / "tiny", PIECES)


def node_of(folder: Path | str | None, **keys: object) -> dict[str, Any]:
    """The whole node of the encoder, as a training completes it."""
    target = "vse_exp.models.pretrained_text.PretrainedText"
    node = check({"_target_": target, "model": folder and str(folder), **keys}, "model.encoder")
    return PretrainedText.complete(node)


def model_of(folder: Path, tmp_path: Path, **keys: object) -> VSE:
    torch.manual_seed(1)
    words = read_subwords(str(folder))
    model = build(
        {
            "_target_": "vse_exp.models.vse.VSE",
            "dim": 6,
            "encoder": node_of(folder, **keys),
            "image_encoder": {"_target_": "vse_exp.models.feature_encoders.LinearImageEncoder"},
        },
        words,
        4,
    )
    model.sentence_encoder.start(words.encode(CAPTIONS), words, tmp_path)
    return model.eval()


def encoder_of(model: VSE) -> PretrainedText:
    assert isinstance(model.sentence_encoder, PretrainedText)
    return model.sentence_encoder


def test_pieces(folder: Path, tmp_path: Path) -> None:
    vocabulary = read_subwords(str(folder))
    assert len(vocabulary) == len(PIECES) + 4
    assert vocabulary.words[4:] == PIECES
    assert vocabulary.max_length == 12
    assert vocabulary.tokenize("A dog runs") == ["a", "dog", "run", "##s"]
    encoded = vocabulary.encode([*CAPTIONS, "a " * 50])
    assert encoded.lengths.tolist() == [6, 8, 2, 9, 6, 12]
    assert encoded.tokens[:6].tolist() == [2, 4, 5, 6, 7, 3]
    again = SubwordVocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert again.to_dict() == vocabulary.to_dict()


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_encodes_as_the_transformer_itself(folder: Path, tmp_path: Path, pooling: str) -> None:
    model = model_of(folder, tmp_path, pooling=POOLINGS[pooling])
    reference = transformers.BertModel.from_pretrained(folder).eval()
    rows = model.encode_sentences(CAPTIONS)
    for row, caption in zip(rows, CAPTIONS, strict=True):
        ids = torch.from_numpy(model.vocabulary.encode([caption]).tokens)[None]
        with torch.no_grad():
            states = reference(input_ids=ids).last_hidden_state[0]
            pooled = states.mean(0) if pooling == "mean" else states[0]
            mapped = encoder_of(model).projection(normalize(pooled, dim=0))
        np.testing.assert_allclose(row, normalize(mapped, dim=0), atol=1e-6)


def test_the_pooling_is_the_models_own(folder: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "1_Pooling").mkdir()
    (other / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (other / "sentence_bert_config.json").write_text('{"max_seq_length": 5}')
    node = node_of(other)
    assert node["pooling"] == POOLINGS["first"]
    assert node["architecture"]["hidden_size"] == 8
    assert read_subwords(str(other)).max_length == 5


def test_frozen_trains_its_map_alone(folder: Path, tmp_path: Path) -> None:
    model = model_of(folder, tmp_path).train()
    assert not encoder_of(model).transformer.training
    tokens, lengths = model.vocabulary.encode(CAPTIONS).batch(np.arange(5))
    model.embed_captions(tokens, lengths)[:, 0].sum().backward()
    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert trained == ["sentence_encoder.projection.weight", "sentence_encoder.projection.bias"]


@pytest.mark.parametrize("frozen", [True, False])
def test_centring_and_a_perceptron(folder: Path, tmp_path: Path, frozen: bool) -> None:
    model = model_of(
        folder, tmp_path, head="mlp", center=True, hidden=5, frozen=frozen, hidden_dropout=0.5
    )
    encoder, captions = encoder_of(model), model.vocabulary.encode(CAPTIONS)
    encoder.transformer.train(not frozen)  # dropout is off all the same where the mean is taken
    encoder.start(captions, model.vocabulary, tmp_path / "again")
    plain = model_of(folder, tmp_path).sentence_encoder
    plain.set_submodule("projection", torch.nn.Identity())
    plain._memory = None  # read anew
    rows = torch.cat([plain(*captions.batch(np.array([row]))) for row in range(5)])
    torch.testing.assert_close(encoder.mean, rows.mean(0))
    assert encoder.mlp is not None
    torch.nn.init.normal_(encoder.mlp.get_parameter("3.weight"))
    centred = normalize(rows - rows.mean(0), dim=1) * rows.shape[1] ** 0.5
    hidden = torch.nn.functional.gelu(encoder.mlp[0](centred))
    expected = normalize(encoder.projection(centred) + encoder.mlp[3](hidden), dim=1)
    np.testing.assert_allclose(
        model.encode_sentences(CAPTIONS), expected.detach().numpy(), atol=1e-5
    )


def test_a_part_of_its_output_is_dropped(folder: Path, tmp_path: Path) -> None:
    model = model_of(folder, tmp_path, dropout=0.5).train()
    tokens, lengths = model.vocabulary.encode(CAPTIONS).batch(np.arange(5))
    model.sentence_encoder.set_submodule("projection", torch.nn.Identity())
    model.sentence_encoder._memory = None  # read anew
    assert 0.2 < (model.sentence_encoder(tokens, lengths) == 0).float().mean() < 0.8


def test_pieces_are_left_out() -> None:
    tokens = torch.arange(1, 41).repeat(50, 1)
    lengths = torch.tensor([2, 40] * 25)
    torch.manual_seed(0)
    left, sizes = leave_out(tokens, lengths, 0.5)
    assert sizes[::2].tolist() == [2] * 25  # a caption keeps its ends
    assert 18 < sizes[1::2].float().mean() < 24
    for row, size in zip(left[1::2].tolist(), sizes[1::2].tolist(), strict=True):
        inside = row[:size]
        assert (inside[0], inside[-1]) == (1, 40)
        assert inside == sorted(set(inside))
    same, all_sizes = leave_out(tokens, None, 0.0)
    assert torch.equal(same, tokens)
    assert all_sizes.tolist() == [40] * 50


def test_word_dropout_changes_what_a_learning_model_reads(folder: Path, tmp_path: Path) -> None:
    model = model_of(folder, tmp_path, frozen=False, word_dropout=0.5)
    tokens, lengths = model.vocabulary.encode(CAPTIONS).batch(np.arange(5))
    whole = model.embed_captions(tokens, lengths)
    encoder_of(model).training = True  # without the transformer's own dropout
    assert (model.embed_captions(tokens, lengths) - whole).abs().amax(1).gt(1e-4).sum() >= 3


def test_not_frozen_trains_all_that_is_used(folder: Path, tmp_path: Path) -> None:
    model = model_of(folder, tmp_path, frozen=False).train()
    assert encoder_of(model).transformer.training
    tokens, lengths = model.vocabulary.encode(CAPTIONS).batch(np.arange(5))
    model.embed_captions(tokens, lengths)[:, 0].sum().backward()
    for parameter in model.sentence_encoder.parameters():
        assert parameter.grad is not None
    names = [name for name, _ in model.sentence_encoder.named_parameters()]
    assert any(name.startswith("transformer.") for name in names)
    assert not any("pooler" in name for name in names)


def test_it_begins_to_learn_in_an_epoch(folder: Path, tmp_path: Path) -> None:
    model = model_of(folder, tmp_path, frozen=False, unfreeze_epoch=1).train()
    encoder = encoder_of(model)
    tokens, lengths = model.vocabulary.encode(CAPTIONS).batch(np.arange(5))
    for epoch in range(2):
        encoder.set_epoch(epoch)
        assert encoder.transformer.training == bool(epoch)
        model.embed_captions(tokens, lengths)[:, 0].sum().backward()
        learns = {parameter.grad is not None for parameter in encoder.transformer.parameters()}
        assert learns == {bool(epoch)}
    rows = model.eval().encode_sentences(CAPTIONS)
    with torch.no_grad():
        next(encoder.transformer.parameters()).mul_(2)
    assert (model.encode_sentences(CAPTIONS) != rows).any()  # nothing is remembered any more


def test_a_large_batch_is_read_by_length(folder: Path, tmp_path: Path, monkeypatch) -> None:
    model = model_of(folder, tmp_path, frozen=False)
    tokens, lengths = model.vocabulary.encode(CAPTIONS * 20).batch(np.arange(100))
    whole = encoder_of(model)._read(tokens, lengths)
    monkeypatch.setattr("vse_exp.models.pretrained_text.PART", 7)
    parts = encoder_of(model)._read_by_length(tokens, lengths)
    torch.testing.assert_close(parts, whole)


def test_what_is_remembered_is_not_read_again(folder: Path, tmp_path: Path, monkeypatch) -> None:
    model = model_of(folder, tmp_path)
    encoder, captions = encoder_of(model), model.vocabulary.encode(CAPTIONS[:2])
    expected = model.encode_sentences(CAPTIONS)
    cache = tmp_path / "cache"
    encoder.start(captions, model.vocabulary, cache)
    np.testing.assert_allclose(model.encode_sentences(CAPTIONS), expected, atol=1e-6)
    (file,) = cache.glob("captions-*/0.npy")
    np.testing.assert_allclose(np.linalg.norm(np.load(file), axis=1), 1, rtol=1e-5)

    def fail(**_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(encoder.transformer, "forward", fail)
    np.testing.assert_allclose(model.encode_sentences(CAPTIONS), expected, atol=1e-6)
    tokens, lengths = model.vocabulary.encode(CAPTIONS).batch(np.arange(5))
    model.embed_captions(tokens, lengths).sum().backward()  # also after encoding
    encoder.start(captions, model.vocabulary, cache)  # from the file
    np.testing.assert_allclose(model.encode_sentences(CAPTIONS[:2]), expected[:2], atol=1e-6)
    with pytest.raises(AssertionError, match="read again"):
        encoder.remember(model.vocabulary.encode(CAPTIONS), cache)
    monkeypatch.undo()
    encoder.remember(model.vocabulary.encode(CAPTIONS), cache)
    monkeypatch.setattr(encoder.transformer, "forward", fail)
    encoder.start(captions, model.vocabulary, cache)
    encoder.remember(model.vocabulary.encode(CAPTIONS), cache)  # now from a file too
    np.testing.assert_allclose(model.encode_sentences(CAPTIONS), expected, atol=1e-6)
    encoder.start(captions, model.vocabulary, cache)
    with pytest.raises(AssertionError, match="read again"):
        model.encode_sentences(CAPTIONS)


def test_other_weights_have_another_file(folder: Path, tmp_path: Path) -> None:
    for seed in range(2):
        encoder = encoder_of(model_of(folder, tmp_path))
        with torch.no_grad():
            next(encoder.transformer.parameters()).add_(seed)
        encoder._load_weights = lambda: None
        words = read_subwords(str(folder))
        encoder.start(words.encode(CAPTIONS), words, tmp_path / "two")
    assert len(list((tmp_path / "two").glob("captions-*"))) == 2


def test_a_checkpoint_does_not_need_the_folder(folder: Path, tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    model = model_of(moved, tmp_path)
    save_model(model, tmp_path / "model.ckpt")
    shutil.rmtree(moved)
    loaded = load_model(tmp_path / "model.ckpt")
    rows = loaded.encode_sentences(CAPTIONS)
    np.testing.assert_allclose(rows, model.encode_sentences(CAPTIONS), atol=1e-6)


def test_mistakes_are_told(folder: Path, tmp_path: Path) -> None:
    for model, keys, said in [
        (None, {}, "needs model.encoder.model"),
        (folder, {"dim_word": 9}, "Unknown key model.encoder.dim_word"),
        (folder, {"word_vectors": "glove.txt"}, "Unknown key model.encoder.word_vectors"),
        (tmp_path, {}, "no config.json"),
        ("package:no_such_package", {}, "pip install it"),
    ]:
        with pytest.raises(UserError, match=said):
            node_of(model, **keys)


@pytest.mark.parametrize("model", ["package:evil_package.sub", "evil/model", "/gone"])
def test_a_checkpoint_without_its_architecture_is_refused_and_nothing_is_looked_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Neither is a package imported nor anything fetched because a file names it."""
    package = tmp_path / "evil_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(socket, "socket", None)
    save_model(model_of(folder, tmp_path), tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    content["vse_exp"]["model"]["encoder"] |= {"model": model, "architecture": None}
    torch.save(content, tmp_path / "model.ckpt")
    with pytest.raises(UserError, match="architecture is missing"):
        load_model(tmp_path / "model.ckpt")
    assert "evil_package" not in sys.modules


def test_a_model_inside_a_package(folder: Path, tmp_path: Path, monkeypatch) -> None:
    import shutil

    package = tmp_path / "some_text_model"
    shutil.copytree(folder, package / "files")
    (package / "files" / "1_Pooling").mkdir()
    (package / "files" / "1_Pooling" / "config.json").write_text("{}")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert model_folder("package:some_text_model") == package / "files"
