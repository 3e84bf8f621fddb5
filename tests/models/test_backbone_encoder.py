"""The image encoder from pixels: frozen, unfrozen, its norms, and the features it shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from small_models import image_encoder as head_factory
from vse_exp.errors import UserError
from vse_exp.images.encoding import picture_features
from vse_exp.images.pictures import PictureRows
from vse_exp.images.sources import open_pictures
from vse_exp.models.backbone import BackboneImageEncoder, build_trunk
from vse_exp.models.small_cnn import SmallCNN
from vse_exp.parts import check

NET = "shufflenet_v2_x0_5"
SMALL = {"size": 32}


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator)


def encoder(unfreeze_epoch: int | None, keep_norms: bool = False) -> BackboneImageEncoder:
    torch.manual_seed(0)
    return BackboneImageEncoder(
        None,
        5,
        head=head_factory(),
        backbone=NET,
        weights="pretrained" if keep_norms else "random",
        transform=SMALL,
        unfreeze_epoch=unfreeze_epoch,
    )


def gradients(model: BackboneImageEncoder, pictures: torch.Tensor) -> dict[str, bool]:
    model.zero_grad(set_to_none=True)
    model(pictures).square().sum().backward()
    return {
        part: any(p.grad is not None for p in getattr(model, part).parameters())
        for part in ("backbone", "head")
    }


def test_small_cnn(pictures):
    model = BackboneImageEncoder(None, 5, head=head_factory(), transform=SMALL)
    trunk = model.backbone
    assert isinstance(trunk, SmallCNN)
    model.start(lambda: [pictures], seed=0)
    assert model(pictures).shape == (4, 5)
    assert gradients(model, pictures) == {"backbone": True, "head": True}
    # where things are changes the features
    assert not torch.allclose(model(pictures), model(pictures.flip(-1)))
    again, _, _ = build_trunk("small_cnn", transform=SMALL)
    assert all(map(torch.equal, again.state_dict().values(), trunk.state_dict().values()))


def test_small_cnn_finds_a_thing_wherever_it_is():
    """Without coordinates, maxima on even ground are those of any place a multiple of 8 away."""
    trunk = build_trunk("small_cnn").module
    assert isinstance(trunk, SmallCNN)
    weight = trunk.get_parameter("last.0.weight")
    with torch.no_grad():
        weight[:, -2:] = 0
        torch.manual_seed(0)
        thing = torch.randn(3, 12, 12)
        pixels = torch.zeros(2, 3, 96, 96)
        pixels[0, :, 32:44, 32:44] = pixels[1, :, 48:60, 40:52] = thing
        here, there = trunk(pixels)
        torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4)
        weight[:, -2:] = 1
        here, there = trunk(pixels)
    assert (here - there).abs().max() > 1e-2


@pytest.mark.parametrize("side", [20, 33, 50, 100])
def test_small_cnn_takes_pictures_of_any_size(side):
    assert SmallCNN()(torch.zeros(2, 3, side, side)).shape == (2, SmallCNN.dim)


def test_one_process_and_two_see_the_same_gradient(pictures):
    """Each half of a batch alone gives the gradients of the whole: no norm mixes pictures."""
    trunk, _, _ = build_trunk("small_cnn", transform=SMALL)
    pixels = pictures.float() / 64
    whole = trunk(pixels)
    halves = torch.cat([trunk(pixels[:2]), trunk(pixels[2:])])
    torch.testing.assert_close(whole, halves)


def test_frozen_for_good(pictures):
    model = encoder(None).train()
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert model.training
    assert not model.backbone.training
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    assert gradients(model, pictures) == {"backbone": False, "head": True}
    assert all(torch.equal(before[name], v) for name, v in model.backbone.state_dict().items())
    model.set_epoch(1000)
    assert model.frozen


def test_unfrozen_at_its_epoch(pictures):
    model = encoder(2).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    before = [value.clone() for value in model.backbone.parameters()]
    for epoch in (0, 1):
        model.set_epoch(epoch)
        assert gradients(model, pictures) == {"backbone": False, "head": True}
        optimizer.step()
    # known to the optimiser all along, and yet untouched, decay included
    assert all(map(torch.equal, before, model.backbone.parameters()))
    model.set_epoch(2)
    assert gradients(model, pictures) == {"backbone": True, "head": True}
    assert model.backbone.training
    optimizer.step()
    assert not any(map(torch.equal, before, model.backbone.parameters()))


def test_norms_keep_their_statistics(pictures):
    kept, free = encoder(0, keep_norms=True).train(), encoder(0).train()
    statistic = "conv1.1.running_mean"
    before = {name: model.backbone.state_dict()[statistic].clone()
              for name, model in (("kept", kept), ("free", free))}  # fmt: skip
    kept(pictures)
    free(pictures)
    assert torch.equal(kept.backbone.state_dict()[statistic], before["kept"])
    assert not torch.equal(free.backbone.state_dict()[statistic], before["free"])


def test_features_are_those_of_extraction(tmp_path):
    from vse_exp.images.backbones import build_backbone

    names = [f"{number}.png" for number in range(5)]
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    model = encoder(None).eval()
    rows = PictureRows.open(open_pictures(tmp_path, names), model.preprocessing)
    blocks = torch.cat(list(model.feature_blocks(rows.blocks())))
    backbone = build_backbone(NET, "random", SMALL)
    backbone.module.load_state_dict(model.backbone.state_dict())
    extracted = picture_features(backbone, [tmp_path / name for name in names])
    torch.testing.assert_close(blocks, torch.from_numpy(extracted), rtol=1e-4, atol=1e-5)
    expected = model.head(normalize(torch.from_numpy(extracted), dim=-1))
    torch.testing.assert_close(model(rows.rows(slice(None))), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"weights": "pretrained"}, "small_cnn has no weights=pretrained"),
        ({"unfreeze_epoch": None}, r"set model\.image_encoder\.unfreeze_epoch=0"),
        ({"unfreeze_epoch": -1}, r"images\.unfreeze_epoch=-1 must be at least 0"),
        ({"backbone": "resnet81"}, "Unknown backbone resnet81"),
        ({"head": "conv"}, r"images\.head=conv must be"),
        ({"transform": {"scale": 3}}, r"Unknown key transform\.scale"),
    ],
)
def test_impossible_configs(keys, message):
    node = {"_target_": "vse_exp.models.backbone.BackboneImageEncoder", **keys}
    with pytest.raises(UserError, match=message):
        BackboneImageEncoder.complete(check(node, "images"), seed=0)
