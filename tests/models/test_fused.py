"""Words and a pre-trained text model together, against the two taken alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from text_model import write_text_model
from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.models.checkpoint import save_model
from vse_exp.models.fused import FusedText
from vse_exp.models.text_models import read_subwords
from vse_exp.models.vse import VSE
from vse_exp.parts import build, check
from vse_exp.text.joined import JoinedVocabulary, halves_of, parts_of, vocabulary_from_dict
from vse_exp.text.tokenizers import Stems
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary

pytest.importorskip("transformers", reason="needs the extra `text`")

CAPTIONS = ["A dog runs", "the cat sits on the mat", "", "a zebra runs on a mat", "a dog runs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pieces = "a dog run ##s cat on the mat sits".split()
    return write_text_model(tmp_path_factory.mktemp("text") / "tiny", pieces)


def node_of(
    folder: Path, words: str = "bow.BagOfWords", join: str = "sum", **sentences: object
) -> dict[str, Any]:
    keys = {
        "join": join,
        "words": {"_target_": f"vse_exp.models.{words}"},
        "sentences": {
            "_target_": "vse_exp.models.pretrained_text.PretrainedText",
            "model": str(folder),
            **sentences,
        },
    }
    target = {"_target_": "vse_exp.models.fused.FusedText"}
    return FusedText.complete(check({**target, **keys}, "model.encoder"))


def words_of_captions() -> Vocabulary:
    return Vocabulary.build(CAPTIONS[:3], Stems())


def model_of(folder: Path, cache: Path, *choices: str, **keys: Any) -> VSE:
    torch.manual_seed(1)
    node = node_of(folder, *choices, **keys)
    vocabulary = FusedText.own_vocabulary(node, words_of_captions)
    images = {"_target_": "vse_exp.models.feature_encoders.LinearImageEncoder"}
    whole = {"encoder": node, "image_encoder": images, "dim": 6}
    model = build({"_target_": "vse_exp.models.vse.VSE", **whole}, vocabulary, 4)
    model.sentence_encoder.start(vocabulary.encode(CAPTIONS), vocabulary, cache)
    return model.eval()


def listed(captions: TokenizedCaptions) -> list[list[int]]:
    return [ids.tolist() for ids in np.split(captions.tokens, captions.offsets[1:-1])]


def inside(part: tuple[Tensor, Tensor]) -> list[list[int]]:
    return [row[:size].tolist() for row, size in zip(part[0], part[1].tolist(), strict=True)]


def test_the_vocabulary_joins_and_takes_apart(folder: Path) -> None:
    words, pieces = words_of_captions(), read_subwords(str(folder))
    joined = JoinedVocabulary(words, pieces)
    ours, theirs = listed(words.encode(CAPTIONS)), listed(pieces.encode(CAPTIONS))
    encoded = joined.encode(CAPTIONS)
    raised = [[id + len(words) for id in ids] for ids in theirs]
    assert listed(encoded) == [a + b for a, b in zip(ours, raised, strict=True)]
    assert [listed(half) for half in halves_of(encoded, len(joined))] == [ours, theirs]
    assert joined.word_counts(encoded).tolist() == [3, 6, 0, 6, 3]
    for rows in ([0, 1, 2, 3, 4], [2], [0, 4], []):
        found = parts_of(*encoded.batch(np.array(rows, dtype=int)), len(joined))
        assert [inside(part) for part in found] == [
            [all_ids[row] for row in rows] for all_ids in (ours, theirs)
        ]
        assert not any(
            part[0][row, size:].any() for part in found for row, size in enumerate(part[1])
        )
    state = json.loads(json.dumps(joined.to_dict()))
    assert listed(vocabulary_from_dict(state).encode(CAPTIONS)) == listed(encoded)


@pytest.mark.parametrize(
    ("words", "join"), [("bow.BagOfWords", "concat"), ("bow.BagOfWords", "sum"), ("rnn.GRU", "sum")]
)
def test_it_is_its_two_together(folder: Path, tmp_path: Path, words: str, join: str) -> None:
    model = model_of(folder, tmp_path, words, join, center=True, head="mlp", hidden=5)
    fused = model.sentence_encoder
    assert isinstance(fused, FusedText)
    stems, pieces = words_of_captions(), read_subwords(str(folder))
    every = np.arange(len(CAPTIONS))
    first = normalize(fused.words(*stems.encode(CAPTIONS).batch(every)), dim=1)
    second = normalize(fused.sentences(*pieces.encode(CAPTIONS).batch(every)), dim=1)
    expected = first + second if join == "sum" else torch.cat([first, second], 1)
    rows = model.encode_sentences(CAPTIONS)
    np.testing.assert_allclose(rows, normalize(expected, dim=1).detach().numpy(), atol=1e-6)
    save_model(model, tmp_path / "model.ckpt")
    again = load_model(tmp_path / "model.ckpt").encode_sentences(CAPTIONS)
    np.testing.assert_allclose(again, rows, atol=1e-6)


def test_what_it_has_read_is_not_read_again(folder: Path, tmp_path: Path, monkeypatch) -> None:
    model = model_of(folder, tmp_path)
    save_model(model, tmp_path / "model.ckpt")
    (tmp_path / "file").touch()
    for cache in (tmp_path / "cache", tmp_path / "cache", tmp_path / "file" / "not-a-folder"):
        ensemble = load_model([tmp_path / "model.ckpt"] * 2)
        if any(tmp_path.glob("cache/*.npy")) and cache.name == "cache":
            for one in ensemble.members:
                monkeypatch.setattr(one.sentence_encoder.sentences.transformer, "forward", None)
        ensemble.remember(CAPTIONS, cache)
        rows = ensemble.encode_sentences(CAPTIONS) * 2**0.5
        np.testing.assert_allclose(rows[:, :6], model.encode_sentences(CAPTIONS), atol=1e-6)


def test_both_are_told_what_they_need(folder: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("dog 1 2 3 4 5 6\n")
    node = node_of(folder, center=True)
    node["words"]["word_vectors"] = str(vectors)
    vocabulary = FusedText.own_vocabulary(node, words_of_captions)
    encoder = build(node, len(vocabulary), 6)
    encoder.start(vocabulary.encode(CAPTIONS), vocabulary, tmp_path)
    row = vocabulary.words.index("dog") + 3
    assert encoder.words.embedding.weight[row].tolist() == [1, 2, 3, 4, 5, 6]
    assert encoder.sentences.mean.abs().sum() > 0
    assert encoder.sparse_tables() == [encoder.words.embedding]


def test_without_pieces_it_is_refused(folder: Path) -> None:
    node = node_of(folder)
    node["sentences"] = node["words"]
    with pytest.raises(UserError, match=r"sentences has no word pieces"):
        FusedText.own_vocabulary(node, words_of_captions)
