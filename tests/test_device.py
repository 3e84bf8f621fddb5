"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from vse_exp.device import find_device
from vse_exp.errors import UserError


def test_auto_is_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == torch.device("cpu")
    assert find_device(torch.device("cpu")) == torch.device("cpu")
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mps, "is_available", lambda: True)
        patch.setattr(torch, "empty", lambda *_, **__: None)
        assert find_device("auto") == torch.device("mps")
    if not torch.cuda.is_initialized():  # one that is there and cannot be used
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch, "empty", _out_of_memory)
        with pytest.raises(UserError, match=r"device=cuda cannot be used \(out of memory\)"):
            find_device("auto")


def _out_of_memory(*_, **__):
    raise RuntimeError("out of memory\nand more")


@pytest.mark.parametrize("name", ["gpu", "cuda:77", None, ["cpu"]])
def test_what_is_no_device(name):
    with pytest.raises(UserError, match="cannot be used"):
        find_device(name)
