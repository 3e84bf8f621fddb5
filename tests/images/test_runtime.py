"""Features computed by ONNX Runtime: torch's but for rounding, and the same job."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from vse_exp.errors import UserError
from vse_exp.images.backbones import build_backbone
from vse_exp.images.computing import Settings
from vse_exp.images.decoding import open_picture
from vse_exp.images.extraction import extract_features
from vse_exp.images.sources import open_pictures
from vse_exp.runtime import find_place

NEEDED = "runtime=onnx needs the extra `onnx`"


@pytest.mark.parametrize("keys", [{}, {"mirror": True, "grid": 4}])
def test_a_job_begun_in_torch_goes_on_in_onnx(photos, tiny_net, tmp_path, keys):
    pytest.importorskip("onnxruntime", reason=NEEDED)
    source, settings = open_pictures(photos(7)), Settings(batch_size=3)
    net = tiny_net(**keys)
    extract_features(source, net, tmp_path / "torch.npy", settings)

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        extract_features(source, net, tmp_path / "both.npy", settings, stop)
    other = replace(tiny_net(**keys), runtime="onnx")
    result = extract_features(source, other, tmp_path / "both.npy", settings)
    assert result.made == 4
    expected, rows = (np.load(tmp_path / f"{name}.npy") for name in ("torch", "both"))
    assert rows.shape == expected.shape
    np.testing.assert_array_equal(rows[:3], expected[:3])
    np.testing.assert_allclose(rows, expected, rtol=2**-10, atol=1e-6)
    assert json.loads((tmp_path / "both_features.json").read_text())["runtime"] == "onnx"
    # and torch finds it made already
    assert extract_features(source, net, tmp_path / "both.npy", settings).made == 0


def test_networks_of_each_family(photos):
    """A convolutional one and a transformer (whose fused layers have no graph)."""
    pytest.importorskip("onnxruntime", reason=NEEDED)
    source = open_pictures(photos(3))
    for name in ("squeezenet1_1", "vit_b_32"):
        torchs = build_backbone(name, "random", {"size": 64} if name[0] == "s" else {})
        views = torchs.preprocessing.views_of
        pictures = torch.stack([views(open_picture(source.read(row))) for row in range(3)])
        found = replace(torchs, runtime="onnx").features(pictures)
        torch.testing.assert_close(found, torchs.features(pictures), rtol=1e-4, atol=1e-5)


def test_what_onnx_cannot_do_is_told(monkeypatch):
    pytest.importorskip("onnxruntime", reason=NEEDED)
    with pytest.raises(UserError, match="runtime=onnx is for CPUs: leave device=cuda out"):
        find_place("cuda", "onnx")
    assert find_place("auto", "onnx").type == "cpu"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'vse_exp\[onnx\]'"):
        find_place("cpu", "onnx")
