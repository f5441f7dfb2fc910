"""`python -m scripts.demo`: run the federation, audit it, write `build/demo/report.html` and `summary.json`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from collegium.chain.views import StudyView
from collegium.errors import CollegiumError
from scripts.setup.paths import BUILD, ROOT

from .evaluation import MEASURES
from .federation import STUDY, TASK, Federation, Options
from .judging import Judge
from .observer import ModelReader, Observer
from .parties import HOSPITALS
from .processes import CommandFailed, adopt_orphans, sweep
from .results import PAGES, publish
from .summary import build, headline
from .table import Screen

STALL_SECONDS = 240.0
ABORTS_ALLOWED = 2


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo", description="Run a whole federation on this machine."
    )
    parser.add_argument("--store", choices=("embedded", "kubo"), default="embedded", help="where blobs lie")
    parser.add_argument("--rounds", type=int, default=10, help="rounds to finalize (default 10)")
    parser.add_argument("--no-liar", action="store_true", help="let both coordinators be honest")
    parser.add_argument("--seed", type=int, default=0, help="of the genesis model and of training (default 0)")
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end, until Ctrl-C")
    parser.add_argument(
        "--output", type=Path, default=BUILD / "demo",
        help="folder (default build/demo); emptied but for the last report",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when everything claimed came true, 4 when the audit found a mismatch, 130 when interrupted."""
    given = parse(arguments)
    adopt_orphans()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    screen = Screen()
    try:
        return run(given, screen)
    except KeyboardInterrupt:
        screen.say("interrupted; ending all processes; the report of an earlier run, if there is one, stays")
        return 130
    except (CommandFailed, CollegiumError) as error:
        screen.say(f"error: {error}")
        return error.exit_code if isinstance(error, CollegiumError) else 1
    finally:
        sweep()


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(given: argparse.Namespace, screen: Screen) -> int:
    options = Options(
        root=given.output.resolve(), rounds=given.rounds, store=given.store, liar=not given.no_liar, seed=given.seed
    )
    started = time.monotonic()
    with Federation(options, screen.say) as federation:
        screen.title("Set-up: a chain, contracts, a council of three, four hospitals, two coordinators, a watcher")
        screen.say("[name] stands for that party's COLLEGIUM_HOME and COLLEGIUM_PASSWORD_FILE")
        federation.set_up()
        judge = Judge(TASK, sites=len(HOSPITALS), seed=options.seed, rounds=options.rounds)
        judge.start()
        screen.title(f"Rounds: {options.rounds} to finalize")
        observer = Observer(federation.devnet.url, federation.deployment, STUDY, options.root / "observer")
        try:
            with federation.step("rounds"):
                view = follow(federation, observer, judge, screen)
            screen.title("Audit: a fresh folder, an RPC address, a store")
            with federation.step("audit"):
                command, audit, code = federation.audit()
            screen.say(f"the audit says {'ok' if code == 0 else 'MISMATCH'} (exit code {code})")
            with federation.step("pages"):
                federation.build_pages()
            liar_alive = federation.liar is not None and federation.services[federation.liar.name].is_alive
            with federation.step("report"):
                summary = build(
                    federation, observer, view, judge.finish(), audit=audit, audit_code=code, audit_command=command,
                    liar_alive=liar_alive, started=started,
                )  # fmt: skip
                publish(options.root, summary)
        finally:
            observer.close()
        screen.title("Summary")
        for line in headline(summary):
            screen.say(line)
        for name in ("report.html", "summary.json", f"{PAGES}/index.html"):
            screen.say(os.path.relpath(options.root / name, ROOT))
        if given.keep:
            keep(federation, screen)
    return code


def follow(federation: Federation, observer: Observer, judge: Judge, screen: Screen) -> StudyView:
    """Watch rounds happen until enough are final. Raises CommandFailed when a process ends or nothing moves."""
    names = federation.names()
    told: set[str] = set()
    judged = 0
    reader: ModelReader | None = None
    moved = time.monotonic()
    with screen:
        while True:
            federation.processes.check_alive(*[each.name for each in federation.hospitals])
            view = observer.look()
            for line in news(view, names, told):
                moved = time.monotonic()
                screen.say(line)
            if reader is None:
                stores = federation.stores or [each.url for each in federation.coordinators]
                reader = ModelReader(view, stores, federation.root / "observer", observer.chain.chain_id)
                judge.submit(0, reader.read(view.genesis_cid, view.plan.genesis_model_root))
            for each in view.final_rounds[judged:]:
                final = each.proposals[-1]
                judge.submit(each.number, reader.read(final.model_cid, final.proposal.new_model_root))
                judged += 1
            for number, measures in judge.news():
                screen.say(
                    f"round {number:>2}  held out  " + "  ".join(f"{name} {measures[name]:.3f}" for name in MEASURES)
                )
            screen.show(view, names=names, rounds=federation.options.rounds, measured=judge.measured)
            if len(view.final_rounds) >= federation.options.rounds:
                return view
            if sum(each.aborted is not None for each in view.rounds) > ABORTS_ALLOWED:
                raise CommandFailed(f"rounds keep aborting\n{tails(federation)}")
            if time.monotonic() - moved > STALL_SECONDS:
                raise CommandFailed(f"nothing happened on chain for {STALL_SECONDS:.0f} s\n{tails(federation)}")
            time.sleep(0.1)


def tails(federation: Federation) -> str:
    """What each process said last."""
    return "\n".join(f"-- {each.name}\n{each.tail(8)}" for each in federation.services.values())


def news(view: StudyView, names: Mapping[str, str], told: set[str]) -> list[str]:
    """Lines about what is new; `told` remembers what was said."""
    lines = []

    def tell(key: str, line: str) -> None:
        if key not in told:
            told.add(key)
            lines.append(line)

    def name(address: str) -> str:
        return names.get(address.lower(), address[:10])

    for each in view.rounds:
        number = f"round {each.number:>2}"
        tell(
            f"{each.number} open",
            f"{number}  opened by {name(each.opener)}, invited {each.invited.bit_count()} hospitals",
        )
        for proposal in each.proposals:
            key = proposal.hash.hex()
            who = name(proposal.proposal.aggregator)
            tell(f"{key} proposed", f"{number}  {who} proposes {proposal.model_cid}")
            if proposal.status == "refuted" and proposal.ended is not None:
                tell(f"{key} refuted", f"{number}  REFUTED: {who} lied; {proposal.ended.transaction}")
        for missed in each.missed:
            tell(missed.transaction, f"{number}  {name(missed.args['aggregator'])} let its duty pass")
        if each.finalized is not None:
            tell(
                f"{each.number} final",
                f"{number}  final, record 0x{(each.record or b'').hex()}; {each.finalized.transaction}",
            )
        if each.aborted is not None:
            tell(f"{each.number} aborted", f"{number}  aborted")
    return lines


def keep(federation: Federation, screen: Screen) -> None:
    """Leave the chain, the stores and the coordinators running for whoever wants to look."""
    screen.say(f"everything goes on running: chain at {federation.devnet.url}; Ctrl-C ends it")
    threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
