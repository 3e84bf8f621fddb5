"""`experiment=order` against the equations of order embeddings, by hand and by plain torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.testing import assert_close

from recipes.repeated import Repeated, recipe_model
from vse_exp.data.loading import PairBatch
from vse_exp.training.building import build_module


def test_the_loss_by_hand() -> None:
    """Violations 0.04, 0 | 0.36, 0.64 of images 1 | 2 by captions 1, 2, and a margin of 0.05:
    0.09 + 0.33 of wrong captions, 0 + 0.69 of wrong images."""
    cfg, model = recipe_model("order", 6)
    loss = build_module(cfg, model).loss
    images = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    captions = torch.tensor([[0.8, 0.6], [0.6, 0.8]])
    assert_close(loss(images, captions, torch.tensor([7, 7])), torch.tensor(1.11))


def reference(
    weights: dict[str, Tensor], tokens: Tensor, lengths: Tensor, features: Tensor
) -> Tensor:
    """The loss of a batch, from the weights by our names."""
    gru = {k.rpartition(".")[2]: v for k, v in weights.items() if "recurrence" in k}
    captions = []
    for caption, length in zip(tokens, lengths.tolist(), strict=True):
        state = torch.zeros(16)
        for word in weights["sentence_encoder.embedding.weight"][caption[:length]]:
            x = gru["weight_ih_l0"] @ word + gru["bias_ih_l0"]
            h = gru["weight_hh_l0"] @ state
            reset, update = (x + h)[:16].sigmoid(), (x + h)[16:32].sigmoid()
            state = update * state + (1 - update) * (x[32:] + reset * h[32:]).tanh()
        captions.append((state / state.norm()).abs())
    mapped = features @ weights["image_encoder.projection.weight"].T
    mapped = mapped + weights["image_encoder.projection.bias"]
    images = (mapped / mapped.norm(dim=1, keepdim=True)).abs()
    total = torch.zeros(())
    for i, image in enumerate(images):
        own = (captions[i] - image).relu().square().sum()
        for j, other in enumerate(images):
            if i != j:
                total = total + (0.05 + own - (captions[j] - image).relu().square().sum()).relu()
                total = total + (0.05 + own - (captions[i] - other).relu().square().sum()).relu()
    return total


def test_updates_by_plain_torch() -> None:
    """Two updates: gradients clipped to a norm of 2, the Adam of Kiros's program at 1e-3."""
    torch.manual_seed(0)
    cfg, model = recipe_model("order", 6)
    weights = {
        k: v.clone().requires_grad_("bias_hh" not in k) for k, v in model.state_dict().items()
    }
    trained = {k: v for k, v in weights.items() if v.requires_grad}
    lengths = torch.tensor([5, 4, 3, 2])
    tokens = torch.randint(2, 9, (2, 4, 5)).scatter(2, (lengths - 1).expand(2, 4)[..., None], 1)
    features = torch.rand(2, 4, 20)
    pairs = torch.arange(4)
    batches = [PairBatch(tokens[i], lengths, features[i], pairs, pairs) for i in range(2)]
    repeated = Repeated(cfg, model, batches, epoch=2)
    moments = {k: (torch.zeros_like(v), torch.zeros_like(v)) for k, v in trained.items()}
    for step in (1, 2):
        loss = reference(weights, tokens[step - 1], lengths, features[step - 1])
        grads = torch.autograd.grad(loss, list(trained.values()))
        norm = torch.sqrt(sum((grad**2).sum() for grad in grads))
        rate = 1e-3 * (1 - 0.001**step) ** 0.5 / (1 - 0.1**step)
        with torch.no_grad():
            for (name, weight), grad in zip(trained.items(), grads, strict=True):
                clipped = grad * min(1.0, 2.0 / float(norm))
                mean = 0.1 * clipped + 0.9 * moments[name][0]
                square = 0.001 * clipped**2 + 0.999 * moments[name][1]
                moments[name] = mean, square
                weight -= rate * mean / (square.sqrt() + 1e-8)
        assert_close(torch.tensor(repeated.losses[step - 1]), loss.detach(), rtol=1e-5, atol=0)
        expected = {name: weight.detach() for name, weight in weights.items()}
        assert_close(dict(repeated.states[step - 1]), expected, rtol=1e-5, atol=1e-5)
