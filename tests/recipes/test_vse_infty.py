"""Encoders and eight updates of VSE-infinity, repeated by `experiment=vse_infty`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.testing import assert_close

from recipes.repeated import Repeated, ids, part, read, recipe_model, rows
from vse_exp.data.loading import PairBatch
from vse_exp.models import feature_encoders

WORDS = 45
"""Of the recording's 50 rows: four are marks and the last the masked word's."""
HIDDEN = "model.image_encoder.hidden=8"
NOISE = "image_encoder.mlp.0.bias"
"""It stands before a batch normalisation, so that its true gradient is zero: Adam divides rounding
by itself, and it moves by up to the rate an update, in any direction."""
FOLLOWS = "image_encoder.mlp.1.0.running_mean"
"""What follows it; normalisation takes both off again."""
NAMES = {
    "embed": "embedding",
    "rnn": "recurrence",
    "gpool.gru": "pooling.places",
    "gpool.linear": "pooling.score",
    "fc": "projection",
    "mlp.layers.0": "mlp.0",
    "mlp.layers.1": "mlp.3",
    "mlp.bns.0": "mlp.1.0",
}
"""Their modules and ours; there is another normalisation, `mlp.bns.1`, that nothing uses."""


def side(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their weights of an encoder by our names."""
    found = {}
    for name, weight in weights.items():
        module, _, last = name.rpartition(".")
        if module in NAMES:
            found[f"{NAMES[module]}.{last}"] = rows(weight) if module == "embed" else weight
    return found


def ours(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their weights of both sides by our names."""
    both = {"sentence_encoder": "txt_enc.", "image_encoder": "img_enc."}
    return {
        f"{here}.{name}": weight
        for here, there in both.items()
        for name, weight in side(part(weights, there)).items()
    }


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.grad.to_dense() for k, v in module.named_parameters() if v.grad is not None}


def test_generalised_pooling(golden: Path) -> None:
    recorded = read(golden / "recipes" / "vseinfty_gpo.npz")
    _, model = recipe_model("vse_infty", WORDS, HIDDEN)
    for pooling in (model.sentence_encoder.pooling, model.image_encoder.pooling):
        assert isinstance(pooling, nn.Module)
        pooling.load_state_dict(_pooling(recorded, "init_"))
        inputs = recorded["inputs"].clone().requires_grad_()
        outputs = pooling(inputs, recorded["lengths"])
        outputs.square().sum().backward()
        assert_close(
            pooling.weights(recorded["lengths"], inputs.shape[1]), recorded["pool_weights"]
        )
        assert_close(outputs, recorded["outputs"])
        assert_close(inputs.grad, recorded["grad_inputs"])
        # whose largest is 29
        assert_close(gradients(pooling), _pooling(recorded, "grad_"), rtol=1e-5, atol=3e-5)


def _pooling(recorded: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    named = {f"gpool.{k}": v for k, v in part(recorded, prefix).items()}
    return part(side(named), "pooling.")


def test_sentences(golden: Path) -> None:
    recorded = read(golden / "recipes" / "vseinfty_text.npz")
    _, model = recipe_model("vse_infty", WORDS, HIDDEN)
    encoder = model.sentence_encoder.eval()
    encoder.load_state_dict(side(part(recorded, "init_")))
    tokens, lengths = ids(recorded["tokens"]), recorded["lengths"]
    assert_close(encoder.pooling.weights(lengths, tokens.shape[1]), recorded["pool_weights"])
    assert_close(encoder(tokens, lengths), recorded["pooled"])
    outputs = model.embed_captions(tokens, lengths)
    assert_close(outputs, recorded["outputs"])
    (outputs * recorded["cotangent"]).sum().backward()
    assert_close(gradients(encoder), side(part(recorded, "grad_")), rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("prefix", ["", "train_"], ids=["evaluation", "training"])
def test_regions(prefix: str, golden: Path) -> None:
    recorded = read(golden / "recipes" / "vseinfty_image.npz")
    _, model = recipe_model("vse_infty", WORDS, HIDDEN)
    encoder = model.image_encoder.train(prefix == "train_")
    encoder.load_state_dict(side(part(recorded, "init_")))
    images = recorded["images"].clone().requires_grad_()
    lengths = recorded["lengths"]
    assert_close(
        encoder.pooling.weights(lengths, images.shape[1]), recorded[f"{prefix}pool_weights"]
    )
    pooled = encoder.pool(images, lengths)
    assert_close(pooled, recorded[f"{prefix}pooled"])
    outputs = normalize(pooled, eps=model.eps)
    assert_close(outputs, recorded[f"{prefix}outputs"])
    (outputs * recorded["cotangent"]).sum().backward()
    assert_close(images.grad, recorded[f"{prefix}grad_images"], rtol=1e-5, atol=3e-6)
    found = gradients(encoder)
    assert_close(found, side(part(recorded, f"{prefix}grad_")), rtol=1e-5, atol=3e-6)
    if prefix:
        after = part(side(part(recorded, "train_after_")), "mlp.1.0.running")
        assert_close(part(encoder.state_dict(), "mlp.1.0.running"), after)


def test_updates(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four with all negatives, the first epoch, and four with the hardest: weights to 1e-5.

    Words are not dropped in the recording, and what it drops of the regions is what we drop.
    """
    recorded = read(golden / "recipes" / "vseinfty_steps.npz")
    cfg, model = recipe_model("vse_infty", WORDS, HIDDEN, "model.encoder.word_dropout=0")
    model.load_state_dict(ours(part(recorded, "init_")))
    tokens, lengths, images = ids(recorded["tokens"]), recorded["lengths"], recorded["images"]
    sizes, widths = recorded["image_lengths"], recorded["image_widths"].tolist()
    batches = [
        PairBatch(
            tokens[i],
            lengths[i],
            images[i, :, : widths[i]],
            torch.arange(8),
            recorded["image_ids"][i],
        )
        for i in range(8)
    ]
    left = iter(sizes)
    monkeypatch.setattr(feature_encoders, "drop_regions", lambda regions, _: (regions, next(left)))
    repeated = Repeated(cfg, model, batches, epoch=4)
    assert_close(torch.tensor(repeated.losses), recorded["losses"], rtol=1e-5, atol=0)
    assert_close(torch.tensor(repeated.norms), recorded["grad_norms"], rtol=1e-5, atol=0)
    for update in (0, 4):
        expected = ours(part(recorded, f"grad{update}_"))
        assert_close(repeated.gradients[update], expected, rtol=1e-5, atol=3e-5)
    for update in (1, 4, 8):
        after = ours(part(recorded, f"after{update}_"))
        found = repeated.states[update - 1]
        for name, weight in after.items():
            loose = name == NOISE or (name == FOLLOWS and update > 1)
            atol = 2 * update * cfg.lrate if loose else 1e-6
            assert_close(found[name], weight, rtol=1e-5, atol=atol)
    model.eval()
    with torch.no_grad():
        assert_close(
            model.embed_captions(tokens[0], lengths[0]), recorded["caption_emb8"], rtol=0, atol=1e-5
        )
        pooled = model.image_encoder.pool(batches[0].images, sizes[0])
        # to which the running mean makes a difference
        assert_close(normalize(pooled), recorded["image_emb8_eval"], rtol=0, atol=2e-3)
