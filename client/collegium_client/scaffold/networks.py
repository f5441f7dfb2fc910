"""The text of a new task's `task.py`, by what its data are and what it learns."""

from __future__ import annotations

from collegium.errors import UsageError
from collegium_client.data.schema import Schema

__all__ = ["IMAGES", "TABLE", "parts_of"]

_HEAD = '''"""$title

$what
Read this file before you approve it: it runs on your data, confined, without network or keys.

`[data]` settings in collegium.toml:

    path = "$path"       $path_words; also list it in training.read
    holdout = 0.25       share of the cases that are kept out of training
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

${metrics_import}from collegium_client import Task as BaseTask
from collegium_client.data import Schema, is_held_out, $reader

SCHEMA = Schema.read(Path(__file__).with_name("schema.toml"))


class Task(BaseTask):
    """$network_words"""

    epochs = 2
    batch_size = 32
    lr = $rate
    optimizer = "sgd"
    momentum = 0.9
    weight_decay = 1e-3

'''

_DATA = '''
    def data(self, settings: Mapping[str, Any]) -> tuple[TensorDataset, TensorDataset]:
        """Training and held-out cases; all cases of one patient are on the same side."""
        cases = $reader(settings.get("path", ""), SCHEMA)
        share = float(settings.get("holdout", 0.25))
        held_out = torch.tensor([is_held_out(key, share) for key in cases.keys])
        inputs, targets = torch.from_numpy(cases.$inputs), torch.from_numpy(cases.targets)
        return (
            TensorDataset(inputs[~held_out], targets[~held_out]),
            TensorDataset(inputs[held_out], targets[held_out]),
        )

$learning

    def example(self) -> torch.Tensor:
        """An input of one case without data, for `collegium model export`."""
        return $example
'''

TABLE = (
    _HEAD
    + '''    def model(self) -> nn.Module:
        """$model_words"""
        return $model
'''
    + _DATA
)
IMAGES = (
    _HEAD
    + '''    def model(self) -> nn.Module:
        """Group instead of batch normalization: statistics of a batch are local and would not be federated."""
        return nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=3, stride=2, padding=1),
            nn.GroupNorm(2, 8),
            nn.ReLU(),
            nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1),
            nn.GroupNorm(4, 16),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
            nn.GroupNorm(8, 32),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(32, $outputs),
        )
'''
    + _DATA
)

_BINARY = '''    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, labels = batch
        return nn.functional.binary_cross_entropy_with_logits(model(inputs).squeeze(-1), labels.float())

    def predict(self, model: nn.Module, data: TensorDataset) -> tuple[torch.Tensor, torch.Tensor]:
        """Probability of the schema's last label, and the labels."""
        inputs, labels = data.tensors
        device = next(model.parameters()).device
        logits = [model(part.to(device)).squeeze(-1).float().cpu() for part in torch.split(inputs, 256)]
        return torch.sigmoid(torch.cat(logits)) if logits else torch.zeros(0), labels

    def metrics(self, model: nn.Module, data: TensorDataset) -> dict[str, float]:
        """AUROC, sensitivity, specificity, accuracy and Brier score, where they are defined."""
        scores, labels = self.predict(model, data)
        found = measure_binary(scores.numpy(), labels.numpy(), threshold=0.5).measures()
        return {name: measure.value for name, measure in found.items() if measure.value is not None}'''

_CLASSES = '''    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, labels = batch
        return nn.functional.cross_entropy(model(inputs), labels)

    def metrics(self, model: nn.Module, data: TensorDataset) -> dict[str, float]:
        """Share of cases whose most likely label is right, over all and averaged over the labels."""
        inputs, labels = data.tensors
        if not len(labels):
            return {}
        said = model(inputs.to(next(model.parameters()).device)).argmax(dim=1).cpu()
        shares = [(said[labels == at] == at).float().mean() for at in labels.unique()]
        right = (said == labels).float().mean()
        return {"accuracy": float(right), "balanced_accuracy": float(sum(shares) / len(shares))}'''

_NUMBER = '''    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, targets = batch
        return nn.functional.mse_loss(model(inputs).squeeze(-1), targets)

    def metrics(self, model: nn.Module, data: TensorDataset) -> dict[str, float]:
        """Mean absolute and root mean squared error, in units of the target."""
        inputs, targets = data.tensors
        if not len(targets):
            return {}
        low, high = SCHEMA.column(SCHEMA.target).range
        said = model(inputs.to(next(model.parameters()).device)).squeeze(-1).cpu()
        errors = (said - targets) * (high - low) / 2
        return {"mae": float(errors.abs().mean()), "rmse": float(errors.square().mean().sqrt())}'''

_LEARNING = {"binary": _BINARY, "classes": _CLASSES, "number": _NUMBER}


def parts_of(schema: Schema, network: str) -> dict[str, str]:
    """The words that differ. Raises `UsageError` for an unknown network."""
    if network not in ("mlp", "logistic"):
        raise UsageError(f"There is no network {network!r}.", hint="Known are mlp and logistic.")
    problem = schema.problem
    outputs = str(len(schema.labels)) if problem == "classes" else "1"
    is_table = schema.kind == "table"
    metrics = "from collegium.metrics import measure_binary\n" if problem == "binary" else ""
    common = {"learning": _LEARNING[problem], "outputs": outputs, "metrics_import": metrics}
    if not is_table:
        height, width = schema.size
        return common | {
            "what": f"Classifies gray images of {height} x {width} pixels into {len(schema.labels)} classes.",
            "network_words": "A small convolutional network.",
            "path_words": "a folder per class, or with labels.csv",
            "reader": "read_images",
            "inputs": "pixels",
            "rate": "0.02",
            "example": f"torch.zeros(1, 1, {height}, {width})",
        }
    wide = network == "mlp"
    layers = f"nn.Sequential(nn.Linear(SCHEMA.width, 16), nn.ReLU(), nn.Linear(16, {outputs}))"
    kind = {"binary": "one of two labels", "classes": "one of several labels", "number": "a number"}[problem]
    return common | {
        "what": f"Predicts {kind}, the column of schema.toml that is the target, from the row's other columns.",
        "network_words": "One hidden layer of 16 units." if wide else "A linear model of the scaled columns.",
        "model_words": "As many inputs as the schema makes features.",
        "model": layers if wide else f"nn.Linear(SCHEMA.width, {outputs})",
        "path_words": "the table",
        "reader": "read_table",
        "inputs": "features",
        "rate": "0.05",
        "example": "torch.zeros(1, SCHEMA.width)",
    }
