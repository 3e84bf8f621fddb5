"""The bridge to ECCV Caption, with a module that has its interface and keeps what it is given."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from vse_exp.errors import UserError
from vse_exp.evaluation.eccv import eccv_metrics

IMAGE_IDS = [104, 101, 109]
CAPTION_IDS = [7, 3, 5, 9, 8, 1]
IMAGES = np.eye(3)
# captions 0 and 1 are of image 0, and so on; caption 5 is no part of the benchmark
CAPTIONS = np.array(
    [[1, 0.2, 0.1], [0.8, 0.3, 0], [0, 1, 0.3], [0.5, 0.7, 0], [0, 0.1, 1], [9, 0, 0]]
)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    given = SimpleNamespace()

    class Metrics:
        def __init__(self):
            self.coco_ids = np.array([7, 3, 5, 9, 8])
            self.eccv_gts = {"i2t": {104: [7, 3, 9], 109: [8]}, "t2i": {9: [104, 101]}}
            self.cxc_gts = {"i2t": {101: [5, 9]}, "t2i": {3: [104], 5: [101, 101]}}

        def compute_all_metrics(self, i2t, t2i, target_metrics, Ks, verbose):
            given.i2t, given.t2i = i2t, t2i
            names = [f"cxc_r{k}" for k in Ks] + [n for n in target_metrics if n != "cxc_recalls"]
            return {name: {"i2t": 0.25, "t2i": n / 10} for n, name in enumerate(names)}

    module = ModuleType("eccv_caption")
    module.Metrics = Metrics
    monkeypatch.setitem(sys.modules, "eccv_caption", module)
    return given


def test_retrieved_items_are_handed_over_by_coco_s_ids(given: SimpleNamespace) -> None:
    found = eccv_metrics(IMAGES, CAPTIONS, IMAGE_IDS, CAPTION_IDS)
    # as deep as recall at 10 needs, which here is all there is, best first, without caption 1
    assert given.i2t == {104: [7, 3, 9, *given.i2t[104][3:]], 101: [5, 9, 3, 7, 8],
                         109: [8, 5, 7, *given.i2t[109][3:]]}  # fmt: skip
    assert given.t2i[9] == [101, 104, 109]
    assert set(given.t2i) == {7, 3, 5, 9, 8}
    assert all(type(i) is int for items in given.t2i.values() for i in items)
    assert found["cxc_aR@5"] == 25
    assert found["cxc_sR@5"] == 10
    assert found["eccv_smAP@R"] == 50
    assert len(found) == 12


def test_ids_that_do_not_fit(given: SimpleNamespace) -> None:
    with pytest.raises(UserError, match=r"1 of 3 image ids of the benchmark .*such as 101"):
        eccv_metrics(IMAGES, CAPTIONS, [104, 2, 109], CAPTION_IDS)
    with pytest.raises(UserError, match="as many different caption ids"):
        eccv_metrics(IMAGES, CAPTIONS, IMAGE_IDS, CAPTION_IDS[:5])
    with pytest.raises(UserError, match="as many different image ids"):
        eccv_metrics(IMAGES, CAPTIONS, [104, 104, 109], CAPTION_IDS)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eccv_caption", None)
    with pytest.raises(UserError, match="pip install eccv_caption"):
        eccv_metrics(IMAGES, CAPTIONS, IMAGE_IDS, CAPTION_IDS)
