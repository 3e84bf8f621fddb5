"""Trainings do without torch's compiler until somebody compiles."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lazy_compiler import MARKS_APART

CODE = """
import sys
from vse_exp.training.imports import import_lightning
import_lightning()
import torch
from lightning.fabric.wrappers import OptimizedModule

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.AdamW(model.parameters())
def update():
    optimizer.zero_grad()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()

update()
assert not isinstance(model, OptimizedModule)
assert "sympy" not in sys.modules
stand_in = sys.modules["torch._dynamo"]
WAY
import torch._dynamo.config, torch._dynamo.utils
compiler = sys.modules["torch._dynamo"]
assert compiler is not stand_in and compiler.__file__.endswith("__init__.py")
assert compiler.utils is sys.modules["torch._dynamo.utils"]
assert compiler.utils.__spec__.origin.endswith("utils.py")
compiled = torch.compile(model, backend="eager")
assert isinstance(compiled, OptimizedModule) and not isinstance(model, OptimizedModule)
assert torch.equal(compiled(torch.ones(1, 2)), model(torch.ones(1, 2)))
update()
marked = torch.optim.Optimizer.zero_grad.__wrapped__
assert marked.__dynamo_disable is not marked
"""


@pytest.mark.skipif(
    not MARKS_APART,
    reason="optimisers of this torch ask for the compiler as those do who compile",
)
@pytest.mark.parametrize("way", ["import torch._dynamo.utils", "torch.compile(model)"])
def test_the_compiler_comes_when_it_is_wanted(way: str) -> None:
    warnings = ["-W", "error", "-W", "ignore:Guards may run slower on Python"]  # torch, on 3.13.0
    command = [sys.executable, *warnings, "-c", CODE.replace("WAY", way)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
