"""A coordinator that lies once: the same program as `collegium-coordinator run` but for one coordinate in one round.

Round, coordinate and value are drawn in this process and told to nobody. Nothing in the coordinator knows of it: it
is handed another `aggregate`, as anybody could do who runs their own copy.

    python -m scripts.demo.liar --home HOME --study 1 --listen 127.0.0.1:8470 --rounds 10
"""

from __future__ import annotations

import argparse
import logging
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from collegium.chain import keystore
from collegium.optimizer import fedavg_step
from collegium_coordinator.aggregation import Aggregate, Inputs, compute_aggregate
from collegium_coordinator.commands import announce
from collegium_coordinator.running import Coordinator
from collegium_coordinator.settings import CoordinatorSettings

__all__ = ["Liar", "choose_rounds", "main", "tamper"]


def choose_rounds(position: int, order_size: int, rounds: int) -> list[int]:
    """Rounds for which a place in the order is on duty first; neither the first nor the last when there are others."""
    mine = [number for number in range(1, rounds + 1) if number % order_size == position]
    return [number for number in mine if 1 < number < rounds] or mine


def tamper(honest: Aggregate, inputs: Inputs) -> Aggregate:
    """The same mean but for one coordinate, and the model that follows from it: nothing else is inconsistent."""
    section = secrets.choice([each for each in inputs.format.sections if each.count])
    coordinate = section.first_chunk * 64 + secrets.randbelow(section.count)
    mean = honest.mean.copy()
    while mean[coordinate] == honest.mean[coordinate]:
        mean[coordinate] = secrets.randbelow(2 * section.bound + 1) - section.bound
    model = fedavg_step(
        inputs.base,
        mean,
        numerator=inputs.plan.rate_numerator,
        denominator=inputs.plan.rate_denominator,
        count=inputs.format.sections[0].count,
    )
    return Aggregate(mean, model)


class Liar:
    """An `aggregate` that is honest in every round but one of those in which this coordinator is on duty first."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._round: int | None = None
        self.coordinator: Coordinator | None = None

    def __call__(self, inputs: Inputs) -> Aggregate:
        honest = compute_aggregate(inputs)
        assert self.coordinator is not None
        number = int(self.coordinator.status()["round"])
        if self._round is None:
            chain = self.coordinator.chain
            order = chain.call("Collegium", "snapshotOf", inputs_study(self.coordinator))["aggregators"]
            mine = choose_rounds(order.index(chain.signer.address), len(order), self._rounds)
            ahead = [each for each in mine if each >= number]
            if not ahead:
                return honest
            self._round = secrets.choice(ahead)
        return tamper(honest, inputs) if number == self._round else honest


def inputs_study(coordinator: Coordinator) -> int:
    """Study that a coordinator serves."""
    return int(coordinator.status()["study"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A coordinator that lies once.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--study", type=int, required=True)
    parser.add_argument("--listen")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--read", action="append")
    parser.add_argument("--store")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    settings = CoordinatorSettings.load(
        given.home, study=given.study, listen=given.listen, rounds=given.rounds, read=given.read, store=given.store
    )
    password = keystore.read_password(given.password_file, prompt="Password of the node key: ")
    liar = Liar(given.rounds)
    with Coordinator(settings, keystore.load(settings.node_key, password), aggregate=liar) as coordinator:
        liar.coordinator = coordinator
        announce(given.home, coordinator.url, coordinator.status())
        print(f"coordinator {coordinator.chain.signer.address} serves {coordinator.url}", file=sys.stderr, flush=True)
        coordinator.run(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
