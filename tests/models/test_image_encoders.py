"""Image encoders against hand-written maps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from small_models import image_encoder as encoder_factory


def encoder_of(name: str = "linear", **keys: Any) -> Any:
    torch.manual_seed(0)
    return encoder_factory(name, **keys)(4, 6)


def test_linear_is_the_originals() -> None:
    encoder = encoder_of()
    weight, bias = encoder.projection.weight, encoder.projection.bias
    bound = math.sqrt(6 / (4 + 6))
    assert weight.abs().max() <= bound
    assert not bias.any()
    torch.nn.init.normal_(bias)
    features = torch.randn(3, 4)
    torch.testing.assert_close(encoder(features), features @ weight.T + bias)


def test_centring_takes_the_training_mean_off() -> None:
    encoder = encoder_of(center=True)
    features = normalize(torch.rand(50, 4), dim=1)
    encoder.start(lambda: features.split(20), seed=0)
    torch.testing.assert_close(encoder.mean, features.mean(0))
    centred = normalize(features - features.mean(0), dim=1)
    # of length sqrt(4), so that values have a variance of about one
    torch.testing.assert_close(encoder(features), encoder.projection(2 * centred))


def test_the_mean_is_part_of_the_state() -> None:
    encoder = encoder_of(center=True)
    encoder.start(lambda: [torch.rand(5, 4)], seed=0)
    other = encoder_of(center=True)
    other.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(other.mean, encoder.mean)


def test_power_keeps_signs() -> None:
    encoder = encoder_of(power=0.5)
    evened = normalize(torch.tensor([[2.0, -1.0, 0.0, 0.5]]).double(), dim=1).float()
    encoded = encoder(torch.tensor([[4.0, -1.0, 0.0, 0.25]]))
    torch.testing.assert_close(encoded, encoder.projection(evened))


def test_a_perceptron_starts_as_the_linear_map() -> None:
    encoder = encoder_of("mlp", hidden=5)
    features = torch.randn(3, 4)
    torch.testing.assert_close(encoder(features), encoder.projection(features))
    assert encoder.mlp is not None
    for parameter in encoder.mlp.parameters():
        torch.nn.init.normal_(parameter)
    assert not torch.allclose(encoder(features), encoder.projection(features))


@pytest.mark.parametrize("image_encoder", ["linear", "mlp"])
@pytest.mark.parametrize("pooling", ["mean", "max", "attention", "gpo", "random"])
def test_several_vectors_an_image(image_encoder: str, pooling: str) -> None:
    encoder = encoder_of(image_encoder, pooling=pooling).eval()
    features = torch.randn(3, 5, 4)
    mapped = encoder(features.flatten(0, 1)).view(3, 5, 6)
    torch.testing.assert_close(encoder(features), encoder.pooling(mapped))
    if pooling in ("mean", "random"):
        torch.testing.assert_close(encoder(features), mapped.mean(1))


def test_random_views_in_training_alone() -> None:
    encoder = encoder_of(pooling="random")
    features = torch.randn(1, 5, 4)
    views = encoder(features[0])
    seen = {int((views - encoder(features)).abs().sum(1).argmin()) for _ in range(100)}
    assert seen == set(range(5))


def test_region_dropout_leaves_some_out_in_training_alone() -> None:
    encoder = encoder_of(pooling="mean", region_dropout=0.4)
    features = torch.eye(5)[:, :4].expand(200, 5, 4)  # mean of rows tells which were kept
    with torch.no_grad():
        encoder.projection.weight.copy_(torch.eye(6)[:, :4])
    kept = (encoder(features)[:, :4] > 0).sum(1)
    assert 2 < kept.float().mean() < 2.8
    encoder.eval()
    torch.testing.assert_close(encoder(features)[0, :4], torch.full((4,), 0.2))


def test_feature_dropout_is_for_training_alone() -> None:
    encoder = encoder_of(dropout=0.5)
    features = torch.randn(20, 4)
    assert not torch.equal(encoder(features), encoder(features))
    encoder.eval()
    assert torch.equal(encoder(features), encoder(features))
