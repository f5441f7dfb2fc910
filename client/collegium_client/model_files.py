"""Model files for others: safetensors and ONNX whose bytes depend on the model alone, checked against the chain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from collegium.extras import require

from .errors import TaskResultRejected
from .evaluation import FinalModel

__all__ = ["KEY", "about", "finish_onnx", "to_safetensors"]

KEY = "collegium"
"""The one metadata key. With two or more, safetensors writes them in an order that changes from run to run."""


def about(model: FinalModel, **more: Any) -> str:
    """What the file says of itself: canonical JSON."""
    content = {"schema": "collegium.model/1", **model.to_json(), **more}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def to_safetensors(state: Mapping[str, Any], model: FinalModel, **more: Any) -> bytes:
    """The same model always gives the same bytes."""
    from safetensors.numpy import save

    ordered = {name: np.ascontiguousarray(state[name]) for name in sorted(state)}
    content: bytes = save(ordered, metadata={KEY: about(model, **more)})
    return content


def finish_onnx(data: bytes, state: Mapping[str, Any], model: FinalModel, **more: Any) -> tuple[bytes, list[str]]:
    """Check an ONNX file that task code wrote, and write into it which model it is.

    Returns the bytes and the names of verified parameters that the graph does not use.
    Raises `TaskResultRejected` when it is no valid ONNX file, needs other files or unknown operators, or holds other
    weights under a parameter's name.
    """
    require("onnx", "onnx")
    import onnx
    from onnx import numpy_helper

    try:
        parsed = onnx.load_model_from_string(data)
        onnx.checker.check_model(parsed, full_check=True)
    except Exception as error:
        # The checker's errors have no common base but this.
        raise TaskResultRejected(f"The exported file is no valid ONNX model: {str(error)[:200]}.") from error
    foreign = {node.domain for node in parsed.graph.node} - {"", "ai.onnx", "ai.onnx.ml"}
    if foreign:
        raise TaskResultRejected(f"The exported model needs operators of {', '.join(sorted(foreign))[:200]}.")
    held = {}
    for each in parsed.graph.initializer:
        if each.data_location == onnx.TensorProto.EXTERNAL or each.external_data:
            raise TaskResultRejected("The exported model keeps weights in other files.")
        held[each.name] = numpy_helper.to_array(each)
    for name, value in state.items():
        if name in held and not (held[name].shape == value.shape and held[name].tobytes() == value.tobytes()):
            raise TaskResultRejected(
                f"The exported model holds other weights than the chain's under {name}.",
                hint="The task's code changes its weights while it is exported; do not use it.",
            )
    del parsed.metadata_props[:]
    entry = parsed.metadata_props.add()
    entry.key, entry.value = KEY, about(model, **more)
    unused = sorted(set(state) - set(held))
    return parsed.SerializeToString(deterministic=True), unused
