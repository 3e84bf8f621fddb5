"""Backbones: what is taken off, which features come out, how weights are read and refused."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import relu
from torchvision import models

from vse_exp.errors import UserError
from vse_exp.images import families, weights
from vse_exp.images.backbones import build_backbone
from vse_exp.images.preprocessing import normalize_pixels

SMALL = {"size": 32}
SHUFFLE = "shufflenet_v2_x0_5"
"""A small network with batch norms and a layer `fc` on top."""


def views(side: int = 32, count: int = 2) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randint(0, 256, (count, 1, 3, side, side), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("name", "dim"), [(SHUFFLE, 1024), ("squeezenet1_1", 512), ("mobilenet_v3_small", 1024)]
)
def test_the_classifier_is_taken_off(name, dim):
    backbone = build_backbone(name, "random", SMALL)
    assert backbone.dim == dim
    assert not backbone.module.training
    assert not any(parameter.requires_grad for parameter in backbone.module.parameters())


def test_resnet_features_are_its_pooled_maps(tmp_path):
    torch.manual_seed(1)
    whole = models.resnet18().eval()
    torch.save(whole.state_dict(), tmp_path / "resnet18-own.pth")
    backbone = build_backbone("resnet18", str(tmp_path / "resnet18-own.pth"), SMALL)
    pooled: list[torch.Tensor] = []
    whole.avgpool.register_forward_hook(lambda module, given, output: pooled.append(output))
    pixels = views()
    with torch.no_grad():
        whole(backbone.preprocessing.normalize(pixels[:, 0]))
    torch.testing.assert_close(backbone.features(pixels)[:, 0], pooled[0].flatten(1))


def small_transformer(name: str, **options: Any) -> nn.Module:
    return models.VisionTransformer(
        image_size=48, patch_size=16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
    )


def test_a_vision_transformer_gives_its_class_token(monkeypatch):
    monkeypatch.setattr(models, "get_model", small_transformer)
    assert build_backbone("vit_b_16", "random", {"size": 48}).dim == 8
    with pytest.raises(UserError, match="does not take pictures of 32 pixels"):
        build_backbone("vit_b_16", "random", SMALL)


class NarrowVGG(nn.Module):
    """Torchvision's VGG with few channels; the real one has 140 million weights."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(7))
        self.classifier = nn.Sequential(
            nn.Linear(8 * 49, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 16), nn.ReLU(),
            nn.Dropout(), nn.Linear(16, 5),
        )  # fmt: skip

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(pixels).flatten(1))


def test_vgg19_gives_fc7_after_its_relu(monkeypatch):
    narrow = NarrowVGG()
    monkeypatch.setattr(models, "get_model", lambda name, **options: narrow)
    backbone = build_backbone("vgg19", "random")
    pixels = views(224)
    seen: list[torch.Tensor] = []
    narrow.classifier[3].register_forward_hook(lambda part, given, out: seen.append(out.clone()))
    features = backbone.features(pixels)[:, 0]
    torch.testing.assert_close(features, relu(seen[0]))
    assert bool((seen[0] < 0).any())


def test_lasagne_weights_bring_the_originals_pipeline(monkeypatch, tmp_path):
    reads: list[str] = []

    def load(path: str) -> dict[str, torch.Tensor]:
        reads.append(path)
        return {"features.0.weight": torch.zeros(1)}

    monkeypatch.setitem(
        sys.modules, "vse_exp.images.lasagne", types.SimpleNamespace(load_lasagne_vgg19=load)
    )
    monkeypatch.setattr(families, "load_into", lambda *given: None)
    monkeypatch.setattr(
        models, "get_model", lambda name, **options: nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    )
    _, preprocessing = families.build_module("vgg19", str(tmp_path / "vgg19.pkl"))
    assert reads == [str(tmp_path / "vgg19.pkl")]
    assert (preprocessing.resize, preprocessing.crop, preprocessing.bgr) == (256, 224, True)
    # red, green, blue means leave zero in the order blue, green, red
    pixel = torch.tensor([123.68, 116.779, 103.939]).view(3, 1, 1)
    assert preprocessing.normalize(pixel).abs().max() < 1e-4
    with pytest.raises(UserError, match="needs backbone=vgg19"):
        families.build_module("resnet18", "vgg19.pkl")


def test_random_weights_follow_the_seed():
    hashes = [build_backbone(SHUFFLE, "random", SMALL, s).weights_sha256 for s in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_files_of_all_kinds_give_the_same_weights(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = models.get_model(SHUFFLE).state_dict()
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "ddp.pth")
    trunk = {key: value for key, value in state.items() if not key.startswith("fc.")}
    save_file(trunk, tmp_path / "trunk.safetensors")
    hashes = {
        build_backbone(SHUFFLE, str(tmp_path / name), SMALL).weights_sha256
        for name in ("plain.pth", "ddp.pth", "trunk.safetensors")
    }
    assert len(hashes) == 1


class Evil:
    def __reduce__(self):
        return (print, ("code was run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Evil(), "holds more than tensors"),
        ({"conv1.weight": torch.zeros(1)}, "lacks conv1.0.weight"),
        ({"epoch": 3}, "beside tensors"),
        ([1], "no state dict"),
        (None, "No weights file"),
    ],
)
def test_wrong_weights(tmp_path, content, message, capsys):
    path = tmp_path / "weights.pth"
    if content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=message):
        build_backbone(SHUFFLE, str(path))
    assert "code was run" not in capsys.readouterr().out


def test_weights_of_another_width_and_a_torn_file(tmp_path):
    torch.save(models.get_model(SHUFFLE, num_classes=3).state_dict(), tmp_path / "small.pth")
    build_backbone(SHUFFLE, str(tmp_path / "small.pth"), SMALL)  # the head does not matter
    with pytest.raises(UserError, match=r"do not (fit|belong)"):
        build_backbone("shufflenet_v2_x1_0", str(tmp_path / "small.pth"))
    whole = (tmp_path / "small.pth").read_bytes()
    (tmp_path / "torn.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"torn\.pth"):
        build_backbone(SHUFFLE, str(tmp_path / "torn.pth"))


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("resnet51", "random", "Unknown backbone resnet51.*resnet50"),
        ("resnet18", "IMAGENET", "Unknown weights=IMAGENET"),
        ("inception_v3", "random", "use timm:inception_v3"),
    ],
)
def test_wrong_names(name, given, message):
    with pytest.raises(UserError, match=message):
        build_backbone(name, given, SMALL)


def test_the_preprocessing_of_the_weights():
    older, newer = models.ResNet50_Weights.IMAGENET1K_V1, models.ResNet50_Weights.IMAGENET1K_V2
    of = families._of_torchvision
    assert (of(older.transforms()).resize, of(newer.transforms()).resize) == (256, 232)
    assert of(older.transforms()).mean == (123.675, 116.28, 103.53)


def test_a_download_that_fails_is_told_at_once(monkeypatch):
    monkeypatch.setattr(weights, "_reachable", lambda url: False)

    def fail(*given: Any, **options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with (
        pytest.raises(UserError, match=r"Cannot get the weights of a thing \(no network\)"),
        weights.downloading("a thing", "https://nowhere.invalid"),
    ):
        torch.hub.load_state_dict_from_url("https://nowhere.invalid")


def test_an_unreachable_host_sets_the_hub_offline(monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs timm (extra images)")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weights.urllib.request, "getproxies", dict)
    with weights.downloading("a thing", "https://nowhere.invalid"):
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE


def test_timm():
    pytest.importorskip("timm", reason="needs timm (extra images)")
    backbone = build_backbone("timm:resnet10t", "random", {"size": 64})
    assert backbone.dim == 512
    assert backbone.preprocessing.interpolation == "bicubic"
    with pytest.raises(UserError, match=r"no model resnet10tt: did you mean resnet10t"):
        build_backbone("timm:resnet10tt", "random")


def test_efficientnet_pytorch_weights_have_timms_names():
    timm = pytest.importorskip("timm", reason="needs timm (extra images)")
    reference = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="needs the package efficientnet-lite-pytorch"
    )
    torch.manual_seed(0)
    theirs = reference.EfficientNet.from_name("efficientnet-lite0").eval()
    ours = timm.create_model("tf_efficientnet_lite0", num_classes=1000).eval()
    named = weights.as_timm_efficientnet(theirs.state_dict(), ours)
    ours.load_state_dict(named)
    pixels = normalize_pixels(views(224, 1)[:, 0], (127,) * 3, (128,) * 3)
    with torch.no_grad():
        torch.testing.assert_close(ours(pixels), theirs(pixels), rtol=1e-4, atol=1e-5)


def test_lite_weights_that_are_not_installed():
    pytest.importorskip("timm", reason="needs timm (extra images)")
    with pytest.raises(UserError, match="pip install efficientnet-lite4-pytorch-model"):
        build_backbone("efficientnet_lite4", "pretrained")


class _FakeClip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5))
        self.text = nn.Linear(3, 5)


def test_openclip(monkeypatch, tmp_path):
    asked: list[tuple[str, str | None]] = []

    def create_model(name: str, pretrained: str | None = None) -> nn.Module:
        asked.append((name, pretrained))
        return _FakeClip()

    config = {
        "size": (32, 32),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }
    fake = types.SimpleNamespace(
        create_model=create_model,
        list_models=lambda: ["ViT-B-32"],
        list_pretrained=lambda: [("ViT-B-32", "openai"), ("RN50", "yfcc")],
        get_model_preprocess_cfg=lambda model: config,
    )
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    monkeypatch.setattr(weights, "_reachable", lambda url: False)
    backbone = build_backbone("openclip:ViT-B-32:openai")
    assert asked == [("ViT-B-32", "openai")]
    assert backbone.dim == 5
    assert (backbone.preprocessing.view, backbone.preprocessing.crop) == ("squash", 32)
    assert backbone.preprocessing.mean == (127.5,) * 3

    torch.save(_FakeClip().state_dict(), tmp_path / "clip.pth")
    build_backbone("openclip:ViT-B-32", str(tmp_path / "clip.pth"))
    with pytest.raises(UserError, match="one of openai"):
        build_backbone("openclip:ViT-B-32", "pretrained")
    with pytest.raises(UserError, match=r"no model ViT-B-33: did you mean ViT-B-32"):
        build_backbone("openclip:ViT-B-33", "random")


def test_missing_extras_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UserError, match=r"pip install 'vse_exp\[openclip\]'"):
        build_backbone("openclip:ViT-B-32", "random")
