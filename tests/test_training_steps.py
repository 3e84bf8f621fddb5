"""Twelve updates of the original program, repeated with ours from its parameters and batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import composed
from vse_exp.compat.original import from_state_dict, to_state_dict
from vse_exp.optimizers import clip_grad_norm
from vse_exp.parts import build
from vse_exp.text.vocabulary import Vocabulary
from vse_exp.training.building import build_node, complete_model, plain

STEPS = 12


class Recorded:
    """A golden file, and a model that starts as it did."""

    def __init__(self, path: Path, encoder: str) -> None:
        with np.load(path) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        initial = self.parameters("init_")
        rows, dim_word = initial["Wemb"].shape
        dim_image, dim = initial["ff_image_W"].shape
        sizes = [f"model.encoder={encoder}", f"model.dim={dim}"]
        if encoder == "gru":
            sizes.append(f"model.encoder.dim_word={dim_word}")
        # the recipe's own file: what is changed there is changed here
        cfg = composed("train", ["experiment=kiros2014", *sizes, "lrate=2e-4"])
        words = Vocabulary(
            [f"w{i}" for i in range(rows - 2)], build_node(cfg.data.vocabulary.tokenizer)
        )
        node = complete_model(plain(cfg.model), cfg.seed)
        self.model = build(node, words, dim_image)
        self.contrast = build_node(cfg.loss)
        self.contrast.use(self.model.similarity)
        self.optimizer = build_node(cfg.optimizer)
        self.grad_clip = cfg.grad_clip
        self.model.load_state_dict(to_state_dict(initial))

    def parameters(self, prefix: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix(prefix): array
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }

    def loss(self, step: int) -> torch.Tensor:
        assert self.arrays[f"mask{step}"].all()  # captions of a batch are of one length
        # their ids lack PAD, and are (T, B)
        tokens = torch.from_numpy(self.arrays[f"x{step}"].T.astype(np.int64) + 1)
        images = torch.from_numpy(self.arrays[f"im{step}"])
        model = self.model
        return self.contrast(
            model.embed_images(images, model.normalize_images),
            model.embed_captions(tokens),
            torch.zeros(len(images), dtype=torch.int64),  # as if all were of one image
        )


@pytest.fixture(params=["gru", "bow"])
def recorded(golden: Path, request: pytest.FixtureRequest) -> Recorded:
    return Recorded(golden / "trainsteps" / f"{request.param}.npz", request.param)


def differences(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> np.ndarray:
    assert set(ours) == set(theirs)
    return np.concatenate([np.abs(ours[name] - theirs[name]).ravel() for name in theirs])


def test_gradients_of_the_first_step(recorded: Recorded) -> None:
    """They are sums of thousands of float32 terms, the largest about 100, in another order: each
    deviates by less than 2e-6 of the largest (measured: 1.2e-6 gru, 4.4e-7 bow).
    """
    recorded.loss(0).backward()
    gradients = {
        name: parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        for name, parameter in recorded.model.named_parameters()
    }
    theirs = recorded.parameters("grad0_")
    largest = max(float(np.abs(array).max()) for array in theirs.values())
    assert differences(from_state_dict(gradients), theirs).max() < 2e-6 * largest


def test_losses_and_parameters(recorded: Recorded) -> None:
    """Losses to a few units in float32's last place, parameters to 1e-6, but for at most three.

    The first update moves a weight by `7e-4 g / (|g| + 3e-7)`, and so by the sign of its gradient
    unless that is near 3e-7, where float32 sums leave few digits: there an update of 7e-4 can be
    off by a hundredth (measured: 8e-6 in one weight of bow; elsewhere 8e-7).
    """
    model = recorded.model
    optimizer = recorded.optimizer([each for each in model.parameters() if each.requires_grad])
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = recorded.loss(step)
        loss.backward()
        clip_grad_norm(model.parameters(), recorded.grad_clip)
        optimizer.step()
        losses.append(loss.item())
        if step + 1 in (1, STEPS):
            after = recorded.parameters(f"after{step + 1}_")
            off = differences(from_state_dict(model.state_dict()), after)
            assert off.max() < 1e-5
            assert (off > 1e-6).sum() <= 3
    np.testing.assert_allclose(losses, recorded.arrays["costs"], rtol=5e-7)
