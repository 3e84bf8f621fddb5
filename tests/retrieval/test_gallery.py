"""Galleries: built, kept in a folder, opened with the right model, searched."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import random_captions, random_features
from small_models import small_model
from vse_exp.errors import UserError
from vse_exp.evaluation.neighbours import best_images
from vse_exp.images.features import ImageFeatures
from vse_exp.models.vse import VSE
from vse_exp.retrieval import build as building
from vse_exp.retrieval import (
    build_gallery,
    open_gallery,
    retrieve_captions,
    retrieve_images,
)
from vse_exp.retrieval.ann import AnnOptions
from vse_exp.retrieval.collection import Collection
from vse_exp.sharding import Shard
from vse_exp.similarity import Order
from vse_exp.text.vocabulary import Vocabulary

CAPTIONS = [*random_captions(29), "a caption with <script>alert(1)</script> & more"]
FEATURES = random_features(10)
NAMES = [f"dir/{i} é.jpg" for i in range(10)]


def model_of(**keys: Any) -> VSE:
    return small_model(Vocabulary.build(CAPTIONS), **keys).eval()


@pytest.fixture(scope="module")
def model() -> VSE:
    return model_of()


def test_a_folder_holds_what_memory_holds(model: VSE, tmp_path: Path) -> None:
    parts = {
        "images": ImageFeatures(FEATURES),
        "image_names": NAMES,
        "captions": CAPTIONS,
        "caption_image": np.arange(30) // 3,
        "source": "tiny test",
        "provenance": {"backbone": "scenes"},
    }
    kept = build_gallery(model, **parts)
    build_gallery(model, tmp_path / "gallery", **parts)
    opened = open_gallery(tmp_path / "gallery", model)
    for kind in kept.kinds:
        np.testing.assert_array_equal(opened.items(kind).vectors, kept.items(kind).vectors)
        assert list(opened.items(kind).names) == list(kept.items(kind).names)
    np.testing.assert_array_equal(opened.items("images").vectors, model.encode_images(FEATURES))
    np.testing.assert_array_equal(opened.caption_image, parts["caption_image"])
    assert isinstance(opened.items("images").vectors, np.memmap)
    assert opened.about["source"] == "tiny test"
    assert opened.about["provenance"] == {"backbone": "scenes"}
    assert [path.name for path in tmp_path.iterdir()] == ["gallery"]


def test_blocks_do_not_change_a_gallery(model: VSE, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_gallery(model, images=FEATURES, captions=CAPTIONS)
    monkeypatch.setattr(building, "BLOCK_CAPTIONS", 7)
    monkeypatch.setattr(VSE, "features_at_once", 3)
    bad = FEATURES.copy()
    bad[7, 2] = np.inf
    with pytest.raises(UserError, match="row 7 "):
        build_gallery(model, images=bad)
    parts = build_gallery(model, images=FEATURES, captions=CAPTIONS)
    for kind in whole.kinds:
        np.testing.assert_allclose(parts.items(kind).vectors, whole.items(kind).vectors, atol=1e-6)


def test_finds_the_best_in_all_four_directions(model: VSE) -> None:
    gallery = build_gallery(model, images=FEATURES, image_names=NAMES, captions=CAPTIONS)
    images, captions = model.encode_images(FEATURES), model.encode_sentences(CAPTIONS)
    found = retrieve_images(model, gallery, CAPTIONS[4], k=3)
    order = np.argsort(-(images @ captions[4]))[:3]
    assert [hit.item for hit in found] == order.tolist()
    assert [hit.name for hit in found] == [NAMES[row] for row in order]
    assert found[0].score == pytest.approx(float((images @ captions[4]).max()), abs=1e-6)
    found = retrieve_captions(model, gallery, FEATURES[2], k=2)
    order = np.argsort(-(captions @ images[2]))[:2]
    assert [hit.name for hit in found] == [CAPTIONS[row] for row in order]
    assert gallery.search(captions[7:8], "captions", "captions", 1).scores[0, 0] == pytest.approx(1)
    assert gallery.search(images[6:7], "images", "images", 1).items[0, 0] == 6


def test_order_embeddings_are_searched_by_their_violation() -> None:
    model = model_of(similarity=Order(), absolute=True)
    gallery = build_gallery(model, images=FEATURES, captions=CAPTIONS)
    images, captions = model.encode_images(FEATURES), model.encode_sentences(CAPTIONS)
    scores, items = best_images(images, captions[:2], 3, "order")
    found = gallery.search(captions[:2], "captions", "images", 3)
    np.testing.assert_array_equal(found.items, items)
    np.testing.assert_allclose(found.scores, scores)
    assert gallery.search(images[:4], "images", "captions", 2).items.shape == (4, 2)
    with pytest.raises(UserError, match="no index"):
        build_gallery(model, images=FEATURES, ann=AnnOptions())


@pytest.mark.parametrize("kind", [None, "hnsw", "ivf"])
def test_shares_are_searched_as_the_whole(kind: str | None, model: VSE, tmp_path: Path) -> None:
    """Five shares, each with its own index: items, names, links, and the best ten of them all."""
    if kind is not None:
        pytest.importorskip("faiss", reason="needs the extra `ann`")
    captions, features = random_captions(120, 5), random_features(40, seed=6)
    collection = Collection(
        "mine", ImageFeatures(features), None, captions, np.arange(120) // 3, "photos"
    )
    keys: Any = {"ann": AnnOptions(kind, n_probe=100) if kind else None}
    for number in range(5):
        share = collection.share(Shard(number, 5))
        build_gallery(model, tmp_path / "apart" / f"{number}-of-5", **share.parts, **keys)
    whole, apart = build_gallery(model, **collection.parts), open_gallery(tmp_path / "apart", model)
    assert apart.about["pictures"] == "photos"
    np.testing.assert_array_equal(apart.caption_image, whole.caption_image)
    queries = {
        "captions": model.encode_sentences(random_captions(20, 9)),
        "images": model.encode_images(random_features(20, seed=9)),
    }
    for target in whole.kinds:
        mine, theirs = apart.items(target), whole.items(target)
        assert mine.names == theirs.names
        assert [piece.index is None for piece in mine.pieces] == [kind is None] * 5
        np.testing.assert_allclose(mine.vectors[:], theirs.vectors, atol=1e-6)
        np.testing.assert_array_equal(mine.vectors[7:29], mine.vectors[:][7:29])
        for asked, rows in queries.items():
            found, best = (each.search(rows, asked, target, 10) for each in (apart, whole))
            np.testing.assert_allclose(found.scores, best.scores, atol=1e-6)
            if target == "images":  # some captions have the same words, and score alike
                np.testing.assert_array_equal(found.items, best.items)
            own = np.einsum("qd,qkd->qk", rows, theirs.vectors[found.items])
            np.testing.assert_allclose(own, found.scores, atol=1e-6)


def test_another_model_is_refused(model: VSE, tmp_path: Path) -> None:
    build_gallery(model, tmp_path / "gallery", images=FEATURES)
    other = model_of()
    assert other.fingerprint() != model.fingerprint()
    with pytest.raises(UserError, match=f"another model .*{other.fingerprint()[:12]}"):
        open_gallery(tmp_path / "gallery", other)
    other.load_state_dict(model.state_dict())
    open_gallery(tmp_path / "gallery", other)


def test_what_stands_there_is_kept(model: VSE, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"exists|not one of this program's"):
            build_gallery(model, mine, images=FEATURES, overwrite=overwrite)
    assert (mine / "thesis.txt").read_text() == "years of work"
    build_gallery(model, tmp_path / "gallery", images=FEATURES)
    bad = FEATURES.copy()
    bad[3, 0] = np.nan
    with pytest.raises(UserError, match="row 3"):
        build_gallery(model, tmp_path / "gallery", images=bad, overwrite=True)
    assert len(open_gallery(tmp_path / "gallery", model).items("images")) == 10
    build_gallery(model, tmp_path / "gallery", images=FEATURES[:4], overwrite=True)
    assert len(open_gallery(tmp_path / "gallery", model).items("images")) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "gallery"}


def test_mistakes_are_told(model: VSE, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to put"):
        build_gallery(model)
    with pytest.raises(UserError, match="3 image names and 10 rows"):
        build_gallery(model, images=FEATURES, image_names=NAMES[:3])
    with pytest.raises(UserError, match="row 0 holds a line break"):
        build_gallery(model, images=FEATURES[:1], image_names=["a\nb"])
    with pytest.raises(UserError, match="No gallery in"):
        open_gallery(tmp_path)
    with pytest.raises(UserError, match="holds no captions"):
        retrieve_captions(model, build_gallery(model, images=FEATURES), FEATURES[0])
    with pytest.raises(UserError, match="records how its image features were made"):
        retrieve_captions(model, build_gallery(model, captions=CAPTIONS), "photo.jpg")


@pytest.mark.parametrize("damage", ["about", "names", "vectors", "version"])
def test_broken_galleries_are_refused(model: VSE, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "gallery"
    build_gallery(model, folder, images=FEATURES, image_names=NAMES)
    if damage == "about":
        (folder / "gallery.json").write_text("{")
    elif damage == "names":
        (folder / "images.txt").write_text("only one\n")
    elif damage == "vectors":
        content = (folder / "images.npy").read_bytes()
        (folder / "images.npy").write_bytes(content[:-9])
    else:
        about = json.loads((folder / "gallery.json").read_text())
        (folder / "gallery.json").write_text(json.dumps(about | {"version": 99}))
    with pytest.raises(UserError, match=r"build it again"):
        open_gallery(folder, model)


def test_half_precision_keeps_scores_to_three_digits(model: VSE, tmp_path: Path) -> None:
    build_gallery(model, tmp_path / "gallery", images=FEATURES, half=True)
    gallery = open_gallery(tmp_path / "gallery", model)
    assert gallery.items("images").vectors.dtype == np.float16
    sentence = model.encode_sentences(["a dog"])
    exact = (model.encode_images(FEATURES) @ sentence[0]).max()
    assert gallery.search(sentence, "captions", "images", 1).scores[0, 0] == pytest.approx(
        exact, abs=1e-3
    )


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_approximate_search_reports_its_recall(model: VSE, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("faiss", reason="needs the extra `ann`")
    features = random_features(600, seed=5)
    build_gallery(
        model, tmp_path / "gallery", images=features, captions=CAPTIONS, ann=AnnOptions(kind)
    )
    gallery = open_gallery(tmp_path / "gallery", model)
    index = gallery.items("images").index
    assert index is not None
    assert index.about["recall@10"] > 0.9
    assert index.about["measured_queries"] == len(CAPTIONS)
    queries = model.encode_sentences(CAPTIONS)
    found = gallery.search(queries, "captions", "images", 10)
    exact = gallery.search(queries, "captions", "images", 10, exact=True)
    assert np.mean(found.items[:, 0] == exact.items[:, 0]) > 0.9
    # more than there are
    assert len(
        gallery.named(gallery.search(queries[:1], "captions", "captions", 99), "captions")[0]
    )
    (tmp_path / "gallery" / "images.faiss").write_bytes(b"no index")
    with pytest.raises(UserError, match="no complete FAISS index"):
        open_gallery(tmp_path / "gallery", model).search(queries, "captions", "images", 10)


def test_options_of_approximate_search_are_checked() -> None:
    with pytest.raises(UserError, match="choose hnsw or ivf"):
        AnnOptions("flat")
    with pytest.raises(UserError, match=r"ann.n_probe=0"):
        AnnOptions("ivf", n_probe=0)


def test_a_full_disk_is_one_sentence(model: VSE, tmp_path: Path) -> None:
    """What the embeddings take is more than a file may hold; nothing is left behind."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"Cannot write .*: File too large"):
            build_gallery(model, tmp_path / "gallery", images=random_features(3000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("similarity", 3),
        ("source", None),
        ("pictures", {"a": 1}),
        ("pictures", [3]),
        ("provenance", "x"),
        ("images", 5),
        ("images", {"count": "10"}),
        ("version", None),
        ("fingerprint", ["a"]),
    ],
)
def test_a_record_of_other_types_is_one_sentence(model, tmp_path, key, value) -> None:
    build_gallery(model, tmp_path / "g", images=FEATURES)
    record = tmp_path / "g" / "gallery.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {key: value}))
    with pytest.raises(UserError, match=r"The gallery .* is broken .*: build it again"):
        open_gallery(tmp_path / "g")


@pytest.mark.parametrize("links", [np.full(30, 10), np.full(30, -1), np.zeros(3, int), np.ones(30)])
def test_links_to_images_that_are_not_there(model, tmp_path, links) -> None:
    parts = {"images": FEATURES, "captions": CAPTIONS, "caption_image": np.arange(30) // 3}
    build_gallery(model, tmp_path / "g", **parts)
    np.save(tmp_path / "g" / "caption_image.npy", links)
    with pytest.raises(UserError, match=r"is broken \(caption_image"):
        open_gallery(tmp_path / "g")
