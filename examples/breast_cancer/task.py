"""Wisconsin breast cancer: is a breast mass malignant, from 30 measurements of cell nuclei.

569 masses, shipped with scikit-learn. 114 of them, the same for everybody, are held out. The other 455 are dealt to
`sites` hospitals of unequal size and unequal share of malignant cases, by a fixed seed. `[data]` settings:

    sites = 4      how many hospitals there are
    site = 0       which one this is; leave it out for all training data (pooled)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import TensorDataset

from collegium_client import Task as BaseTask

SEED = 2024
HELD_OUT = 114
SIZE_SHARES = (0.40, 0.30, 0.20, 0.10)
MALIGNANT_SHARES = (0.15, 0.45, 0.25, 0.15)
"""How the malignant cases spread over the first four hospitals, against the sizes above."""

# Constants of the study, from the published ranges of the measurements: scaling must not depend on anybody's data.
# Order: mean, standard error and worst of radius, texture, perimeter, area, smoothness, compactness, concavity,
# concave points, symmetry, fractal dimension.
CENTER = np.array(
    [
        [14.0, 19.0, 92.0, 650.0, 0.096, 0.10, 0.09, 0.05, 0.18, 0.063],
        [0.4, 1.2, 2.9, 40.0, 0.007, 0.025, 0.03, 0.012, 0.02, 0.004],
        [16.0, 26.0, 107.0, 880.0, 0.13, 0.25, 0.27, 0.115, 0.29, 0.084],
    ]
).ravel()
SPREAD = np.array(
    [
        [3.5, 4.3, 24.0, 350.0, 0.014, 0.05, 0.08, 0.04, 0.027, 0.007],
        [0.28, 0.55, 2.0, 45.0, 0.003, 0.018, 0.03, 0.006, 0.008, 0.0026],
        [4.8, 6.1, 33.0, 570.0, 0.023, 0.16, 0.21, 0.066, 0.062, 0.018],
    ]
).ravel()


def split(sites: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """Return features float32 [569, 30], labels (1 malignant), the rows of each site, and the held-out rows."""
    bunch = load_breast_cancer()
    features = ((bunch.data - CENTER) / SPREAD).clip(-6, 6).astype(np.float32)
    labels = (bunch.target == 0).astype(np.float32)
    order = np.random.default_rng(SEED).permutation(len(labels))
    held_out, rest = order[:HELD_OUT], order[HELD_OUT:]
    malignant, benign = rest[labels[rest] == 1], rest[labels[rest] == 0]
    if sites == len(SIZE_SHARES):
        of_malignant = np.array(MALIGNANT_SHARES)
        sizes = np.array(SIZE_SHARES) * len(rest)
        of_benign = np.maximum(sizes - of_malignant * len(malignant), 0)
    else:
        of_malignant, of_benign = np.arange(1, sites + 1) / 1.0, np.arange(sites, 0, -1) / 1.0
    parts = zip(_deal(malignant, of_malignant), _deal(benign, of_benign), strict=True)
    return features, labels, [np.sort(np.concatenate(part)) for part in parts], held_out


def _deal(rows: np.ndarray, shares: np.ndarray) -> list[np.ndarray]:
    cuts = np.round(np.cumsum(shares / shares.sum()) * len(rows)).astype(int)[:-1]
    return np.split(rows, cuts)


class Task(BaseTask):
    """A small network: 30 measurements, 16 hidden units, one logit."""

    epochs = 2
    batch_size = 32
    lr = 0.05
    optimizer = "sgd"
    momentum = 0.9
    weight_decay = 1e-3

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))

    def data(self, settings: Mapping[str, Any]) -> tuple[TensorDataset, TensorDataset]:
        features, labels, sites, held_out = split(int(settings.get("sites", 4)))
        site = settings.get("site")
        rows = np.concatenate(sites) if site is None else sites[int(site)]

        def pick(chosen: np.ndarray) -> TensorDataset:
            return TensorDataset(torch.from_numpy(features[chosen]), torch.from_numpy(labels[chosen]))

        return pick(rows), pick(held_out)

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        features, labels = batch
        return nn.functional.binary_cross_entropy_with_logits(model(features).squeeze(-1), labels)

    def predict(self, model: nn.Module, data: TensorDataset) -> tuple[torch.Tensor, torch.Tensor]:
        features, labels = data.tensors
        device = next(model.parameters()).device
        return torch.sigmoid(model(features.to(device)).squeeze(-1).float()).cpu(), labels

    def example(self) -> torch.Tensor:
        return torch.zeros(1, 30)

    def metrics(self, model: nn.Module, data: TensorDataset) -> dict[str, float]:
        features, labels = data.tensors
        device = next(model.parameters()).device
        scores = model(features.to(device)).squeeze(-1).float().cpu().numpy()
        truth, said = labels.numpy() == 1, scores > 0
        return {
            "accuracy": float((truth == said).mean()),
            "auroc": float(roc_auc_score(truth, scores)),
            "sensitivity": float((said & truth).sum() / max(1, truth.sum())),
            "specificity": float((~said & ~truth).sum() / max(1, (~truth).sum())),
        }
