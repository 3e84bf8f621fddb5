"""What computes a network on a CPU: torch itself, or ONNX Runtime with a copy made in memory."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from vse_exp.device import find_device
from vse_exp.errors import UserError
from vse_exp.schema import Runtime

OPSET = 17
"""Of the graphs that are written: ONNX Runtime reads it since 1.12."""

Sizes = Mapping[str, Mapping[int, str]]
"""By input or output, the axes of any size, and a name for each."""


def find_place(device: str | torch.device, runtime: Runtime) -> torch.device:
    """The device for a runtime: for onnx the CPU. UserError where the two do not go together, and
    where ONNX Runtime is not installed."""
    if runtime == "torch":
        return find_device(device)
    _onnxruntime()
    if str(device) not in ("auto", "cpu"):
        raise UserError(f"runtime=onnx is for CPUs: leave device={device} out.")
    return torch.device("cpu")


def exported(
    network: nn.Module, inputs: Mapping[str, Tensor], outputs: tuple[str, ...], sizes: Sizes
) -> bytes:
    """The ONNX graph of a network in evaluation mode, weights inside, traced on example `inputs`.

    Its parts must be in that mode too: the exporter puts them all into that of the whole.
    UserError for what has no such graph.
    """
    file = io.BytesIO()
    assert not network.training
    with warnings.catch_warnings(), torch.no_grad(), _plain_attention():
        # that shapes are traced, and that this exporter is the older one: the newer needs a
        # library more, and does not know recurrences of any length
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network,
                tuple(inputs.values()),
                cast(Any, file),  # typed for the newer exporter alone
                dynamo=False,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: dict(axes) for name, axes in sizes.items()},
                opset_version=OPSET,
            )
        except Exception as error:  # exporters raise whatever they like
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(f"It has no ONNX graph ({reason}): use runtime=torch.") from error
    return file.getvalue()


class OnnxNetwork:
    """A network's copy in ONNX Runtime: tensors in, in the order of `inputs`, and a list of tensors
    out.

    On as many threads as torch has. It is made of a network that is there already, never of a file.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Mapping[str, Tensor],
        outputs: tuple[str, ...],
        sizes: Sizes,
    ) -> None:
        self.inputs = tuple(inputs)
        self.graph = exported(network, inputs, outputs, sizes)
        self._session = open_session(self.graph)
        # a graph has no inputs that its outputs do not depend on
        self._used = {one.name for one in self._session.get_inputs()}

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        given = zip(self.inputs, tensors, strict=True)
        given = {name: each.numpy() for name, each in given if name in self._used}
        return [torch.from_numpy(rows) for rows in self._session.run(None, given)]

    def one_by_one(self, pictures: Tensor) -> list[Tensor]:
        """The same a picture at once, whose values stay in a CPU's caches."""
        parts = [self(pictures[row : row + 1]) for row in range(len(pictures))]
        return [torch.cat(part) for part in zip(*parts, strict=True)]


def open_session(graph: bytes) -> Any:
    """An InferenceSession on the CPU."""
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # threads that wait in a loop would take the processors from those that decode pictures
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@contextmanager
def _plain_attention() -> Any:
    """Without torch's fused layer of a transformer, which has no graph."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "ONNX Runtime is not installed: pip install 'vse_exp[onnx]', or say runtime=torch."
        ) from error
    return onnxruntime
