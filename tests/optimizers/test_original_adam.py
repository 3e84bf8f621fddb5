"""The original's Adam and clipping against its golden updates and its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vse_exp.optimizers import OriginalAdam, clip_grad_norm


@pytest.mark.parametrize("name", ["gru", "bow"])
def test_first_update_equals_the_originals(golden, name):
    steps = np.load(golden / "trainsteps" / f"{name}.npz")
    names = [key.removeprefix("grad0_") for key in steps if key.startswith("grad0_")]
    parameters = [torch.nn.Parameter(torch.from_numpy(steps[f"init_{key}"])) for key in names]
    for key, parameter in zip(names, parameters, strict=True):
        parameter.grad = torch.from_numpy(steps[f"grad0_{key}"])
    optimizer = OriginalAdam(parameters, lr=2e-4)
    assert clip_grad_norm(parameters, 2.0) > 100  # it was really clipped
    optimizer.step()
    for key, parameter in zip(names, parameters, strict=True):
        # a step is 7e-4, a float32 parameter of 0.1 is exact to 7e-9
        torch.testing.assert_close(
            parameter.data, torch.from_numpy(steps[f"after1_{key}"]), atol=3e-8, rtol=0
        )


def test_equals_the_formula_over_many_updates():
    generator = np.random.default_rng(0)
    value = generator.standard_normal(7)
    m = v = np.zeros(7)
    parameter = torch.nn.Parameter(torch.from_numpy(value.copy()))
    optimizer = OriginalAdam([parameter], lr=0.01)
    for t in range(1, 60):
        gradient = generator.standard_normal(7)
        m, v = 0.1 * gradient + 0.9 * m, 0.001 * gradient**2 + 0.999 * v
        rate = 0.01 * math.sqrt(1 - 0.001**t) / (1 - 0.1**t)
        value = value - rate * m / (np.sqrt(v) + 1e-8)
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=1e-10)


@pytest.mark.parametrize(("t", "expected"), [(1, 3.5), (10, 6.5), (100, 3.2), (2000, 1.08)])
def test_steps_of_a_constant_gradient(t, expected):
    """The hot start, in units of the learning rate."""
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = OriginalAdam([parameter], lr=1.0)
    before = parameter.detach().clone()
    for _ in range(t):
        before = parameter.detach().clone()
        parameter.grad = torch.full_like(parameter, 0.3)
        optimizer.step()
    assert (before - parameter).item() == pytest.approx(expected, rel=0.02)


def test_it_goes_on_where_its_state_was_saved():
    def run(optimizer, parameter, seeds):
        for seed in seeds:
            parameter.grad = torch.randn(5, generator=torch.Generator().manual_seed(seed))
            optimizer.step(lambda: 1.0)

    whole = torch.nn.Parameter(torch.ones(5))
    run(OriginalAdam([whole]), whole, range(6))
    first = torch.nn.Parameter(torch.ones(5))
    optimizer = OriginalAdam([first])
    run(optimizer, first, range(3))
    second = torch.nn.Parameter(first.detach().clone())
    resumed = OriginalAdam([second])
    resumed.load_state_dict(optimizer.state_dict())
    run(resumed, second, range(3, 6))
    assert torch.equal(whole, second)
