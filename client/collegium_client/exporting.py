"""A model as an ONNX file. Runs inside the task's process, where torch and the task's code may run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .task import Task

__all__ = ["write_onnx"]

OPSET = 18


def write_onnx(task: Task, state: Mapping[str, Any], buffers: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Write the task's model with these weights; the first dimension of input and output is the batch.

    Returns names and shapes of input and output and, where onnxruntime is installed, the largest difference between
    its results and torch's over seeded random inputs. Raises TypeError for a task without `example`.
    """
    import torch

    example = task.example()
    if not isinstance(example, torch.Tensor):
        raise TypeError("Task.example must return a tensor of one case, such as torch.zeros(1, 30)")
    model = task.model()
    known = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, value in (*state.items(), *buffers.items()):
            known[name].copy_(value)
    model.eval()
    with warnings.catch_warnings():
        # The exporter by tracing is the older one; it needs one package instead of three and keeps tensor names.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (example,), str(path), dynamo=False, opset_version=OPSET, do_constant_folding=False,
            input_names=["input"], output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )  # fmt: skip
        with torch.no_grad():
            shape = list(model(example).shape)
    return {
        "input": ["batch", *example.shape[1:]],
        "output": ["batch", *shape[1:]],
        "opset": OPSET,
        "torch": str(torch.__version__),
        "difference": _compare(model, example, path),
    }


def _compare(model: Any, example: Any, path: Path, *, cases: int = 8) -> float | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    import torch

    options = onnxruntime.SessionOptions()
    # Threads of its own would need calls that the sandbox refuses.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn((cases, *example.shape[1:]), generator=generator, dtype=torch.float32).to(example.dtype)
    with torch.no_grad():
        right = model(inputs)
    found = session.run(None, {"input": inputs.numpy()})[0]
    return float(abs(torch.from_numpy(found) - right).max())
