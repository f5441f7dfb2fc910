"""The task's process: confines itself, then loads torch and the approved code, then answers requests.

Requests and answers are frames on two pipes: 4 bytes length, big-endian, then JSON. Tensors travel as safetensors
files in the scratch folder. What the task prints goes to stderr. Started by `sandbox.Sandbox`, never by hand.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["MAX_FRAME", "main", "read_frame", "write_frame"]

MAX_FRAME = 4 << 20


def read_frame(pipe: BinaryIO) -> dict[str, Any] | None:
    """Return the next message, None at the end. Raises ValueError for one that is too long or no JSON object."""
    head = pipe.read(4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "big")
    if length > MAX_FRAME:
        raise ValueError(f"a message of {length} bytes is longer than {MAX_FRAME}")
    body = pipe.read(length)
    if len(body) < length:
        return None
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("a message must be an object")
    return message


def write_frame(pipe: BinaryIO, message: dict[str, Any]) -> None:
    """Send one message."""
    body = json.dumps(message, separators=(",", ":"), default=float).encode()
    pipe.write(len(body).to_bytes(4, "big") + body)
    pipe.flush()


def main() -> None:
    """Serve until the request pipe closes. Arguments: the answer pipe's descriptor."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(int(sys.argv[1]), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    first = read_frame(requests)
    if first is None:
        return
    # Loaded before the walls go up: the source folder itself stays unreadable afterwards.
    import collegium_client.task
    from collegium_client.confinement import Policy, confine

    collegium_client.task.Task  # noqa: B018
    policy: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in first["policy"].items()
    }
    enforced = confine(Policy(**policy))
    server = _Server(first, answers)
    write_frame(answers, {"ok": True, "enforced": enforced, **server.versions})
    while (request := read_frame(requests)) is not None:
        try:
            write_frame(answers, {"ok": True, **server.answer(request)})
        except Exception as error:
            text = "".join(traceback.format_exception(error))[-8000:]
            write_frame(answers, {"ok": False, "error": f"{type(error).__name__}: {error}"[:2000], "trace": text})


class _Server:
    def __init__(self, first: dict[str, Any], answers: BinaryIO) -> None:
        self._first, self._answers = first, answers
        self._training: Any = None
        self._task: Any = None
        import torch

        from collegium_client import training

        if first["threads"] > 0:
            torch.set_num_threads(first["threads"])
        torch.use_deterministic_algorithms(True, warn_only=True)
        self._torch, self._lib = torch, training
        self.versions = {"torch": torch.__version__, "cuda": torch.cuda.is_available()}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        handlers = {
            "describe": self._describe,
            "train": self._train,
            "evaluate": self._evaluate,
            "predict": self._predict,
            "export": self._export,
        }
        return handlers[request["do"]](request)

    @property
    def task(self) -> Any:
        if self._task is None:
            folder = Path(self._first["task"])
            sys.path.insert(0, str(folder))
            names: dict[str, Any] = {"__name__": "task", "__file__": str(folder / "task.py")}
            code = compile((folder / "task.py").read_bytes(), names["__file__"], "exec")
            module = type(sys)("task")
            module.__dict__.update(names)
            sys.modules["task"] = module
            exec(code, module.__dict__)
            from collegium_client import Task

            found = getattr(module, "Task", None)
            if not (isinstance(found, type) and issubclass(found, Task)) or found is Task:
                raise TypeError("the file must define `class Task(collegium_client.Task)`")
            self._task = found()
        return self._task

    @property
    def training(self) -> Any:
        if self._training is None:
            device = self._lib.choose_device(self._first["device"])
            self._training = self._lib.Training(self.task, self._first["data"], device)
        return self._training

    def _load(self, path: str | None) -> dict[str, Any]:
        from safetensors.torch import load_file

        return load_file(path) if path else {}

    def _save(self, tensors: dict[str, Any], path: str) -> None:
        from safetensors.torch import save_file

        save_file({name: value.clone() for name, value in tensors.items()}, path)

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        model = self.task.model()
        if request.get("genesis"):
            self._save(self._lib.initial_state(self.task, request["seed"]), request["genesis"])
        names = ("epochs", "batch_size", "lr", "optimizer", "momentum", "weight_decay")
        return {
            "tensors": self._lib.parameter_shapes(model),
            "buffers": [[name, list(value.shape)] for name, value in model.named_buffers()],
            "hyperparameters": {name: getattr(self.task, name) for name in names},
        }

    def _train(self, request: dict[str, Any]) -> dict[str, Any]:
        state, buffers, report = self.training.run(
            self._load(request["base"]),
            seed=request["seed"],
            round=request["round"],
            buffers=self._load(request["buffers"]),
            epochs=request["epochs"],
            progress=self._progress,
        )
        self._save(state, request["out"])
        if buffers:
            self._save(buffers, request["buffers_out"])
        return {"report": asdict(report), "has_buffers": bool(buffers)}

    def _progress(self, done: int, total: int) -> None:
        if done == total or done % max(1, total // 50) == 0:
            write_frame(self._answers, {"progress": [done, total]})

    def _evaluate(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"metrics": self.training.evaluate(self._load(request["state"]), self._load(request["buffers"]))}

    def _predict(self, request: dict[str, Any]) -> dict[str, Any]:
        found = self.training.predict(self._load(request["state"]), self._load(request["buffers"]))
        if found is not None:
            self._save(dict(zip(("scores", "labels"), found, strict=True)), request["out"])
        return {"predicted": found is not None}

    def _export(self, request: dict[str, Any]) -> dict[str, Any]:
        from collegium_client import exporting

        state, buffers = self._load(request["state"]), self._load(request["buffers"])
        return exporting.write_onnx(self.task, state, buffers, Path(request["out"]))


if __name__ == "__main__":
    main()
