"""Encoding in chunks gives the whole batch's gradient with the activations of one chunk."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout, normalize

from vse_exp.losses import HingeLoss, InfoNCELoss, encode_in_chunks


class Encoders(nn.Module):
    """Two small networks with dropout that count the activations that live at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 20)
        self.images, self.captions = nn.Linear(20, 4), nn.Linear(20, 4)
        self.living = self.most = 0

    def forward(self, chunk):
        hidden = dropout(self.hidden(chunk).tanh(), 0.3)
        self.living += 1
        self.most = max(self.most, self.living)
        weakref.finalize(hidden.untyped_storage(), self._freed)
        return normalize(self.images(hidden)), normalize(self.captions(hidden))

    def _freed(self) -> None:
        self.living -= 1


@pytest.mark.parametrize("loss", [HingeLoss(), InfoNCELoss()])
@pytest.mark.parametrize("sizes", [[8], [3, 3, 2], [1] * 8])
def test_gradients_equal_the_whole_batchs(loss, sizes):
    torch.manual_seed(0)
    encoders = Encoders()
    chunks = torch.randn(8, 6).split(sizes)
    parameters = [*encoders.parameters(), *loss.parameters()]

    torch.manual_seed(1)
    embeddings = [torch.cat(part) for part in zip(*(encoders(c) for c in chunks), strict=True)]
    whole = loss(*embeddings)
    expected = torch.autograd.grad(whole, parameters)
    drawn_next = torch.rand(1)

    torch.manual_seed(1)
    cached = loss(*encode_in_chunks(encoders, chunks))
    assert cached.item() == whole.item()
    assert torch.equal(torch.rand(1), drawn_next)
    torch.manual_seed(2)  # whatever is drawn before the backward pass
    for grad, want in zip(torch.autograd.grad(cached, parameters), expected, strict=True):
        assert torch.allclose(grad, want, rtol=1e-5, atol=1e-7)


def test_the_activations_of_one_chunk_live_at_a_time():
    def most(encode) -> int:
        torch.manual_seed(0)
        encoders = Encoders()
        chunks = torch.randn(12, 6).split(2)
        HingeLoss()(*encode(encoders, chunks)).backward()
        return encoders.most

    def at_once(encoders, chunks):
        return [torch.cat(part) for part in zip(*map(encoders, chunks), strict=True)]

    assert most(at_once) == 6
    assert most(encode_in_chunks) == 1
