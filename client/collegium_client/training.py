"""Local training: the only part of the client that touches torch. Runs inside the task's process.

States are dictionaries of float32 tensors by parameter name. The same base, data, seed and round give the same
trained weights on one machine.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from .task import Task

__all__ = ["Training", "TrainingReport", "choose_device", "initial_state", "parameter_shapes"]


@dataclass(frozen=True)
class TrainingReport:
    """What local training did; stays at the institution, except `num_examples` as the update's weight."""

    num_examples: int
    steps: int
    epochs: int
    first_loss: float
    last_loss: float
    """Mean loss of the first and of the last epoch."""
    seconds: float
    device: str


def choose_device(wish: str = "auto") -> torch.device:
    """Return CUDA when it is there and not unwanted. `wish` is `auto`, `cpu`, `cuda` or `cuda:N`."""
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wish)


def compute_seed(*words: object) -> int:
    """Return 63 bits that depend on every word."""
    text = "|".join(str(word) for word in words).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def parameter_shapes(model: torch.nn.Module) -> list[tuple[str, list[int]]]:
    """Return name and shape of every parameter, in the model's order: what a study federates."""
    return [(name, list(value.shape)) for name, value in model.named_parameters()]


def initial_state(task: Task, seed: int) -> dict[str, torch.Tensor]:
    """Return the parameters of a freshly initialized model, float32."""
    torch.manual_seed(compute_seed("genesis", seed))
    return _parameters(task.model())


def _parameters(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().to("cpu", torch.float32).contiguous() for name, value in model.named_parameters()}


def _buffers(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().to("cpu").contiguous() for name, value in model.named_buffers()}


def _load(model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    known = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, value in state.items():
            known[name].copy_(value)


class Training:
    """A task with its data loaded once, trained round after round."""

    def __init__(self, task: Task, data_settings: Mapping[str, Any], device: torch.device) -> None:
        self.task = task
        self.device = device
        self.train_data, self.holdout = task.data(data_settings)

    @property
    def num_examples(self) -> int:
        """What the task says its training data weighs, at least 1."""
        return max(1, int(self.task.num_examples(self.train_data)))

    def _model(self, base: Mapping[str, torch.Tensor], buffers: Mapping[str, torch.Tensor]) -> torch.nn.Module:
        model: torch.nn.Module = self.task.model()
        _load(model, base)
        _load(model, buffers)
        return model.to(self.device)

    def run(
        self,
        base: Mapping[str, torch.Tensor],
        *,
        seed: int,
        round: int,
        buffers: Mapping[str, torch.Tensor],
        epochs: int | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], TrainingReport]:
        """Train from `base` and return (parameters, buffers, report). `progress` gets (steps done, steps)."""
        task, started = self.task, time.perf_counter()
        torch.manual_seed(compute_seed("round", seed, round))
        model = self._model(base, buffers)
        model.train()
        batches = _batches(self.train_data, task.batch_size, compute_seed("order", seed, round))
        optimizer = _optimizer(task, model)
        autocast = task.autocast and self.device.type == "cuda"
        scaler = torch.amp.GradScaler(self.device.type, enabled=autocast)
        epochs = task.epochs if epochs is None else epochs
        total, steps, losses = epochs * len(batches), 0, []
        for _ in range(epochs):
            running = torch.zeros((), device=self.device)
            for batch in batches:
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast(self.device.type, enabled=autocast):
                    loss = task.loss(model, _to(batch, self.device))
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                running += loss.detach()
                steps += 1
                progress(steps, total)
            losses.append(float(running) / max(1, len(batches)))
        report = TrainingReport(
            num_examples=self.num_examples,
            steps=steps,
            epochs=epochs,
            first_loss=losses[0] if losses else 0.0,
            last_loss=losses[-1] if losses else 0.0,
            seconds=time.perf_counter() - started,
            device=str(self.device),
        )
        return _parameters(model), _buffers(model), report

    def evaluate(self, state: Mapping[str, torch.Tensor], buffers: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Return the task's metrics on the holdout; empty when there is none."""
        if self.holdout is None:
            return {}
        model = self._model(state, buffers)
        model.eval()
        with torch.no_grad():
            found = self.task.metrics(model, self.holdout)
        return {str(name): float(value) for name, value in found.items()}

    def predict(
        self, state: Mapping[str, torch.Tensor], buffers: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return (probabilities float32 [n], labels float32 [n]) on the holdout; None when the task gives none."""
        if self.holdout is None:
            return None
        model = self._model(state, buffers)
        model.eval()
        with torch.no_grad():
            found = self.task.predict(model, self.holdout)
        if found is None:
            return None
        scores, labels = (torch.as_tensor(part).detach().to("cpu", torch.float32).reshape(-1) for part in found)
        return scores, labels


def _optimizer(task: Task, model: torch.nn.Module) -> torch.optim.Optimizer:
    trainable = [value for value in model.parameters() if value.requires_grad]
    common: dict[str, Any] = {"lr": task.lr, "weight_decay": task.weight_decay}
    if task.optimizer == "sgd":
        return torch.optim.SGD(trainable, momentum=task.momentum, **common)
    if task.optimizer == "adam":
        return torch.optim.Adam(trainable, **common)
    if task.optimizer == "adamw":
        return torch.optim.AdamW(trainable, **common)
    raise ValueError(f"optimizer is {task.optimizer!r}; known are sgd, adam and adamw")


class _TensorBatches:
    """Batches of a TensorDataset by slicing: no work per example."""

    def __init__(self, tensors: tuple[torch.Tensor, ...], batch_size: int, generator: torch.Generator) -> None:
        self._tensors, self._size, self._generator = tensors, batch_size, generator

    def __len__(self) -> int:
        return -(-len(self._tensors[0]) // self._size)

    def __iter__(self) -> Any:
        order = torch.randperm(len(self._tensors[0]), generator=self._generator)
        for part in torch.split(order, self._size):
            yield tuple(tensor[part] for tensor in self._tensors)


def _batches(data: Dataset[Any], batch_size: int, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    if type(data) is torch.utils.data.TensorDataset:
        return _TensorBatches(data.tensors, batch_size, generator)
    return DataLoader(data, batch_size=batch_size, shuffle=True, generator=generator)


def _to(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: _to(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(_to(value, device) for value in batch)
    return batch
