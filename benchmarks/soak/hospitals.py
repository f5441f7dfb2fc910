"""Four hospitals, two coordinators and a watcher as real processes, for hundreds of rounds, killed at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.demo.federation import STUDY, Federation, Options
from scripts.demo.observer import Observer

from .chaos import Chaos
from .following import Follow
from .money import Holding, count_money
from .outcome import Outcome
from .sampling import Journal

__all__ = ["soak_hospitals"]

AUDIT_SECONDS = 1200.0


def soak_hospitals(
    folder: Path, *, rounds: int, minutes: float | None, kill_every: int, seed: int, say: Callable[[str], None]
) -> Outcome:
    """Run and look. folder: emptied first; keeps homes, logs and `samples.jsonl`. Raises Stuck."""
    options = Options(folder, rounds=rounds, liar=False, seed=seed)
    with Federation(options, lambda line: None) as federation:
        federation.set_up()
        say(f"{len(federation.hospitals)} hospitals, {len(federation.coordinators)} coordinators, a watcher: running")
        journal = Journal(folder / "samples.jsonl")
        observer = Observer(federation.devnet.url, federation.deployment, STUDY, folder / "observer")
        try:
            chaos = Chaos(federation.processes, federation.services, make_restart(federation), kill_every, seed)
            view = Follow(
                observer, federation.services, {"anvil": federation.devnet.record.pid},
                {each.name: each.home for each in (*federation.members, federation.watcher)},
                chaos, journal, rounds, minutes, say,
                may_end=frozenset(each.name for each in federation.hospitals),
            ).run()  # fmt: skip
            say("auditing from a fresh home")
            _, audit, code = federation.audit(seconds=AUDIT_SECONDS)
            return Outcome.look(
                view, observer.indexer.events(), chain=observer.chain, audited=code == 0 and audit["verdict"] == "ok",
                holdings=holdings_of(federation, observer), homes=[each.home for each in federation.members],
                orphans=chaos.orphans, asked=rounds,
            )  # fmt: skip
        finally:
            journal.close()
            observer.close()


def make_restart(federation: Federation) -> Callable[[str], None]:
    """Starts a party's process with the command it had."""
    starts: dict[str, Callable[[], None]] = {"watcher": federation.start_watcher}
    for party in federation.hospitals:
        starts[party.name] = lambda party=party: federation.start_training(party)  # type: ignore[misc]
    for party in federation.coordinators:
        starts[party.name] = lambda party=party: federation.start_coordinator(party)  # type: ignore[misc]
    return lambda name: starts[name]()


def holdings_of(federation: Federation, observer: Observer) -> Mapping[str, Holding]:
    institutions = [each.institution for each in federation.members]
    return count_money(observer.chain, observer.indexer.events(), STUDY, institutions)


