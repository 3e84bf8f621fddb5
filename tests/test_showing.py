"""What notebooks show: figures to a digit, names as text, pictures inside."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

import vse_exp
from small_models import small_model
from vse_exp.retrieval.gallery import Hit
from vse_exp.text.vocabulary import Vocabulary

METRICS = {"aR@1": 12.345, "sR@1": 2.0, "aMedr": 3.0, "rsum": 100.04, "protocol": "x"}


def test_metrics_are_a_table() -> None:
    shown = vse_exp.show(METRICS)
    assert re.findall("<th>(.*?)</th>", shown.html) == ["", "aR@1", "aMedr", "sR@1", "rsum"]
    assert re.findall("<td>(.*?)</td>", shown.html) == ["", "12.3", "3", "2.0", "100.0"]
    assert repr(shown).splitlines()[1].split() == ["12.3", "3", "2.0", "100.0"]
    several = vse_exp.show({"<a>": METRICS, "b": {"rsum": 1}})
    assert re.findall("<td>(.*?)</td>", several._repr_html_()) == [
        "&lt;a&gt;", "100.0", "b", "1.0"
    ]  # fmt: skip
    with pytest.raises(vse_exp.UserError, match="no common one"):
        vse_exp.show({"loss": 1.0})


def test_hits_are_pictures_where_there_are_some(tmp_path) -> None:
    Image.new("RGB", (300, 150), "red").save(tmp_path / "a.png")
    model = small_model(Vocabulary.build(["a dog"]))
    names = ["a.png", "<b>.png"]
    gallery = vse_exp.build_gallery(
        model, images=np.eye(2, 12), image_names=names, captions=["<i>"], pictures=str(tmp_path)
    )
    hits = [Hit(0, 0.5, names[0]), Hit(1, 0.25, names[1])]
    html = vse_exp.show(hits, gallery).html
    assert html.count("<figure") == 2
    assert "&lt;b&gt;.png" in html
    (content,) = re.findall(r"base64,([^\"]+)", html)
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (112, 56)
    captions = vse_exp.show([Hit(0, 0.5, "<i>")], gallery)
    assert captions.html == "<ol><li>&lt;i&gt; <small>0.500</small></li></ol>"
    assert repr(captions) == "0.500  <i>"
    assert vse_exp.show(hits).html.startswith("<ol>")
