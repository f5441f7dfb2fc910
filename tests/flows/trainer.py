"""Training without torch: least squares on two features by plain gradient descent, the same on every machine.

It stands where the sandbox stands, so that a flow costs milliseconds of training. The sandbox has tests of its own,
and `test_processes` runs the real thing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collegium.encoding import FormatTable
from collegium_client.sandbox import Trained

__all__ = ["TABLE", "Trainer"]

TABLE = FormatTable([("weight", (1, 2)), ("bias", (1,))], exponent=16, bound=1 << 20)
EXAMPLES = (40, 75, 120, 60, 33)
STEPS, RATE = 5, 0.1
State = Mapping[str, NDArray[np.float32]]


class Trainer:
    """The task of one hospital. site: which one; decides its data and their number."""

    def __init__(self, site: int) -> None:
        self.num_examples = EXAMPLES[site % len(EXAMPLES)]
        random = np.random.default_rng(1000 + site)
        self._features = random.normal(size=(self.num_examples, 2))
        self._targets = self._features @ [1.5, -0.75] + 0.25 + 0.1 * random.normal(size=self.num_examples)

    def train(
        self,
        state: State,
        *,
        seed: int = 0,
        round: int = 0,
        buffers: bytes = b"",
        progress: Callable[[int, int], None] | None = None,
    ) -> Trained:
        """Keeps a count of rounds as its local buffers."""
        weight, bias = np.float64(state["weight"][0]), float(state["bias"][0])
        losses = []
        for _ in range(STEPS):
            error = self._features @ weight + bias - self._targets
            losses.append(float((error**2).mean()))
            weight = weight - RATE * 2 * (self._features.T @ error) / self.num_examples
            bias = bias - RATE * 2 * float(error.mean())
        trained = {"weight": np.float32(weight)[None, :], "bias": np.float32([bias])}
        seen = json.loads(buffers)["rounds"] if buffers else 0
        report: dict[str, Any] = {"steps": STEPS, "first_loss": losses[0], "last_loss": losses[-1]}
        return Trained(trained, json.dumps({"rounds": seen + 1}).encode(), self.num_examples, report)

    def evaluate(self, state: State, *, buffers: bytes = b"") -> dict[str, float]:
        error = self._features @ np.float64(state["weight"][0]) + float(state["bias"][0]) - self._targets
        return {"loss": float((error**2).mean())}


class Diverged(Trainer):
    """What a hospital with broken labels sends: as far away as the encoding lets it go."""

    def train(self, state: State, **options: Any) -> Trained:
        honest = super().train(state, **options)
        far = {name: np.full_like(value, 1e6) for name, value in honest.state.items()}
        return Trained(far, honest.buffers, honest.num_examples, honest.report)
