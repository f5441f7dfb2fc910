"""Is there a lesion in an ultrasound image? A small convolutional network on made-up images, see speckle.py.

Four hospitals see different kinds of lesions with different scanners, so none of them alone learns what all need.
`[data]` settings:

    site = 0       which hospital this is, 0 to 3; leave it out for all training images (pooled)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from speckle import HOSPITALS, MIXED, SEED, SIZE, Examples, generate
from torch import nn
from torch.utils.data import TensorDataset

from collegium.metrics import measure_binary
from collegium_client import Task as BaseTask


def as_tensors(found: Examples) -> TensorDataset:
    """Pixels float32 [n, 1, SIZE, SIZE] in [-1, 1], the same for every site; labels float32 [n]."""
    pixels = torch.from_numpy(found.pixels.astype(np.float32) / 127.5 - 1)[:, None]
    return TensorDataset(pixels, torch.from_numpy(found.labels.astype(np.float32)))


class Task(BaseTask):
    """Three convolutions with group normalization: batch statistics are local and would not be federated."""

    epochs = 2
    batch_size = 16
    lr = 0.02
    optimizer = "sgd"
    momentum = 0.9
    weight_decay = 1e-3

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=5, stride=2, padding=2),
            nn.GroupNorm(2, 8),
            nn.ReLU(),
            nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1),
            nn.GroupNorm(4, 16),
            nn.ReLU(),
            nn.Conv2d(16, 16, kernel_size=3, padding=1),
            nn.GroupNorm(4, 16),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64, 1),
        )

    def data(self, settings: Mapping[str, Any]) -> tuple[TensorDataset, TensorDataset]:
        site = settings.get("site")
        chosen = range(len(HOSPITALS)) if site is None else [int(site)]
        found = [generate(HOSPITALS[at], SEED + at) for at in chosen]
        pixels, labels = (np.concatenate([getattr(each, name) for each in found]) for name in ("pixels", "labels"))
        return as_tensors(Examples(pixels, labels)), as_tensors(generate(MIXED, SEED + len(HOSPITALS)))

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        pixels, labels = batch
        return nn.functional.binary_cross_entropy_with_logits(model(pixels).squeeze(-1), labels)

    def predict(self, model: nn.Module, data: TensorDataset) -> tuple[torch.Tensor, torch.Tensor]:
        pixels, labels = data.tensors
        device = next(model.parameters()).device
        return torch.sigmoid(model(pixels.to(device)).squeeze(-1)).float().cpu(), labels

    def metrics(self, model: nn.Module, data: TensorDataset) -> dict[str, float]:
        scores, labels = self.predict(model, data)
        found = measure_binary(scores.numpy(), labels.numpy()).measures()
        return {name: measure.value for name, measure in found.items() if measure.value is not None}

    def example(self) -> torch.Tensor:
        return torch.zeros(1, 1, SIZE, SIZE)
