"""Galleries as Parquet, read and searched by other programs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from conftest import random_captions, random_features
from small_models import small_model
from vse_exp.errors import UserError
from vse_exp.retrieval import build_gallery, parquet
from vse_exp.retrieval.gallery import Gallery
from vse_exp.similarity import Order
from vse_exp.text.vocabulary import Vocabulary

arrow = pytest.importorskip("pyarrow.parquet", reason="needs the extra `tables`")
CAPTIONS = random_captions(30)


@pytest.fixture
def gallery() -> Gallery:
    model = small_model(Vocabulary.build(CAPTIONS)).eval()
    return build_gallery(
        model,
        images=random_features(10),
        captions=CAPTIONS,
        caption_image=np.arange(30) // 3,
        source="tiny test",
        half=True,
    )


def test_rows_are_those_of_the_gallery(gallery: Gallery, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(parquet, "ROWS", 7)
    parquet.write_parquet(gallery, tmp_path / "gallery.parquet")
    table = arrow.read_table(tmp_path / "gallery.parquet")
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == list(range(40))
    assert [row["kind"] for row in rows] == ["images"] * 10 + ["captions"] * 30
    assert [row["path"] for row in rows] == [f"image {i}" for i in range(10)] + [None] * 30
    assert [row["text"] for row in rows] == [None] * 10 + CAPTIONS
    # the id of a caption's image is that image's row, for images come first
    assert [row["image"] for row in rows] == [None] * 10 + [i // 3 for i in range(30)]
    vectors = np.array([row["vector"] for row in rows], dtype=np.float32)
    expected = [gallery.items(kind).vectors for kind in ("images", "captions")]
    np.testing.assert_array_equal(vectors, np.concatenate(expected).astype(np.float32))
    about = json.loads(table.schema.metadata[b"vse_exp"])
    assert about["source"] == "tiny test"


def test_lancedb_finds_the_same(gallery: Gallery, tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb", reason="LanceDB is not installed")
    parquet.write_parquet(gallery, tmp_path / "gallery.parquet")
    content = arrow.read_table(tmp_path / "gallery.parquet")
    table = lancedb.connect(tmp_path / "lance").create_table("gallery", content)
    queries = gallery.items("captions").vectors.astype(np.float32)
    ours = gallery.search(queries, "captions", "images", k=5).items
    for query, expected in zip(queries[:5], ours, strict=False):
        found = table.search(query).distance_type("dot").where("kind = 'images'").limit(5)
        assert [row["id"] for row in found.to_list()] == expected.tolist()


def test_order_violations_are_no_inner_product(gallery: Gallery, tmp_path: Path) -> None:
    other = dataclasses.replace(gallery, similarity=Order())
    with pytest.raises(UserError, match="no inner product: leave out format=parquet"):
        parquet.write_parquet(other, tmp_path / "gallery.parquet")
