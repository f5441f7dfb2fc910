"""`python -m benchmarks.soak [part ...]`: run federations for long, kill their processes, write `benchmarks/soak.json`.

Parts: hospitals (4 hospitals as processes), hospitals-calm (the same without kills: every process lives through all
rounds), crowd-32 and crowd-100 (as many light clients in one process). Results of other parts stay.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from scripts.demo.processes import CommandFailed, adopt_orphans, sweep
from scripts.setup.paths import BUILD

from ..measure import Results
from .figures import report
from .judging import Samples
from .outcome import Outcome
from .sampling import read_journal

PARTS = ("hospitals", "hospitals-calm", "crowd-32", "crowd-100")
HOSPITAL_ROUNDS = 200
CROWD_ROUNDS = 10
BENCHMARKS = Path(__file__).resolve().parents[1]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}, or crowd-N; default: all")
    parser.add_argument("--rounds", type=int, help="final rounds of each part (default 200 and 10)")
    parser.add_argument("--minutes", type=float, help="stop each part after so long and judge what there is")
    parser.add_argument("--kill-every", type=int, default=4, help="rounds between kills (default 4; 0: none)")
    parser.add_argument("--seed", type=int, default=0, help="of kills, models and training (default 0)")
    parser.add_argument("--folder", type=Path, default=BUILD / "soak", help="homes, logs, samples (default build/soak)")
    parser.add_argument("--out", type=Path, default=BENCHMARKS, help="where soak.json and soak-*.svg go")
    parser.add_argument("--judge-only", action="store_true", help="judge and plot what an earlier run left")
    given = parser.parse_args(arguments)
    for part in given.parts:
        if part not in PARTS and not part.removeprefix("crowd-").isdigit():
            parser.error(f"there is no part {part!r}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when all parts ran and every bar holds, 1 otherwise, 130 when interrupted."""
    given = parse(arguments)
    adopt_orphans()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    command = shlex.join(["python", "-m", "benchmarks.soak", *(sys.argv[1:] if arguments is None else arguments)])
    missed = 0
    try:
        for part in given.parts or PARTS:
            missed += soak(part, given, command)
    except KeyboardInterrupt:
        return 130
    except CommandFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        sweep()
    return 1 if missed else 0


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def soak(part: str, given: argparse.Namespace, command: str) -> int:
    """Run, judge, write, plot one part; how many bars it missed."""
    from .plots import draw

    folder = given.folder.resolve() / part
    print(f"soak: {part}", flush=True)
    started = time.monotonic()
    if not given.judge_only:
        run(part, folder, given).save(folder / "outcome.json")
    samples = Samples(read_journal(folder / "samples.jsonl"))
    results = Results()
    report(results, Outcome.load(folder / "outcome.json"), samples)
    entry: dict[str, Any] = {"figures": [asdict(each) for each in results.figures]}
    if not given.judge_only:
        entry |= {"command": command, "minutes": round((time.monotonic() - started) / 60, 1)}
    write(given.out / "soak.json", part, entry)
    for path in draw(samples, part, given.out):
        print(f"written to {path}")
    missed = [figure.name for figure in results.figures if not figure.ok]
    for name in missed:
        print(f"missed its bar: {name}")
    return len(missed)


def run(part: str, folder: Path, given: argparse.Namespace) -> Outcome:
    kill_every = 0 if part.endswith("-calm") else given.kill_every
    options = {"minutes": given.minutes, "kill_every": kill_every, "seed": given.seed, "say": say}
    if part.startswith("hospitals"):
        from .hospitals import soak_hospitals

        return soak_hospitals(folder, rounds=given.rounds or HOSPITAL_ROUNDS, **options)
    from .crowd import soak_crowd

    clients = int(part.removeprefix("crowd-"))
    return soak_crowd(folder, clients=clients, rounds=given.rounds or CROWD_ROUNDS, **options)


def say(line: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {line}", flush=True)


def write(path: Path, part: str, entry: dict[str, Any]) -> None:
    """Replace one part's results."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[part] = {**known.get(part, {}), **entry}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    sys.exit(main())
