"""model evaluate and compare."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import PreconditionError, UsageError, VerificationError

if TYPE_CHECKING:
    from collegium_client.evaluation import Comparison, Report
    from collegium_client.finals import Final
    from collegium_client.home import Home

__all__ = ["model_compare", "model_evaluate"]


@command(signs=True)
@click.argument("study", type=int)
@click.option("--round", "number", type=int, help="A final round; 0 is the genesis model [default: the latest].")
@click.option("--threshold", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.5, show_default=True,
              help="Probability from which a case is called positive.")  # fmt: skip
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False),
              help="Write a signed report to publish; without it everything stays here.")  # fmt: skip
@click.option("--smallest-cell", type=click.IntRange(min=3), default=10, show_default=True,
              help="No count in the report is smaller.")  # fmt: skip
@click.option("--bootstrap", "seed", type=int, help="Seed: also show a bootstrap interval of the AUROC.")
def model_evaluate(
    app: App,
    study: int,
    number: int | None,
    threshold: float,
    output: Path | None,
    smallest_cell: int,
    seed: int | None,
) -> Shown:
    """Measure a final model of STUDY on this institution's held-out cases; show it here, publish only what you choose.

    Runs the approved task confined. The report of --output holds counts by score, each of at least --smallest-cell
    cases, and is signed by the node key.
    """
    from collegium.metrics import disclose, measure_binary
    from collegium.metrics.binary import bootstrap
    from collegium_client.finals import open_final
    from collegium_client.home import Home
    from collegium_client.session import open_sandbox

    home = Home(app.home, password_file=app.password_file).require()
    final = open_final(home, study, number)
    task = home.approvals.require(final.view.plan.task_digest)
    kept = home.state / f"buffers-{study}.safetensors"
    with open_sandbox(home, task, name="evaluate", table=final.plan.table, study=study) as sandbox:
        app.say(sandbox.confinement.explain())
        found = sandbox.predict(final.state, buffers=kept.read_bytes() if kept.exists() else b"")
    if found is None:
        raise PreconditionError(
            "The task gives no predictions, so they cannot be counted.",
            hint="A task for two labels defines Task.predict; see docs/data-scientist.md.",
        )
    scores, labels = found
    here = measure_binary(scores, labels, threshold=threshold)
    data: dict[str, Any] = {"model": final.model.to_json(), "local": here.to_json(), "report": None}
    lines = [
        f"round {final.model.round} on {here.cases} held-out cases, {here.positives} positive, threshold {threshold:g}",
        *(f"  {name:<12} {measure}" for name, measure in here.measures().items()),
    ]
    if seed is not None:
        again = bootstrap(scores, labels, seed=seed)
        data["bootstrap"] = {"seed": seed, **again.to_json()}
        lines.append(f"  {'bootstrap':<12} {again} (AUROC, seed {seed})")
    if output is None:
        return Shown(data, [*lines, "Nothing left this institution. To publish counts: -o report.json"])
    disclosed = disclose(scores, labels, threshold=threshold, min_cell=smallest_cell)
    report = _sign(home, final, disclosed)
    _write(output, report.to_json())
    data |= {"report": str(output), "disclosed": disclosed.to_json()}
    said = [f"  withheld: {line}" for line in disclosed.withheld]
    return Shown(data, [*lines, f"Signed report: {output}; it holds only what is listed in it.", *said])


def _sign(home: Home, final: Final, disclosed: Any) -> Report:
    from collegium.records import ZERO_ADDRESS
    from collegium_client.evaluation import Report

    signer = home.signer("node")
    from collegium.chain import Contracts

    institution = Contracts(final.chain).institution(signer.address)
    if institution == ZERO_ADDRESS or final.view.seat_of(institution) is None:
        raise PreconditionError(
            f"The node key {signer.address} speaks for no member of study {final.model.study}.",
            hint="Only members publish reports; without --output the evaluation works all the same.",
        )
    day = time.strftime("%Y-%m-%d", time.gmtime())
    unsigned = Report(final.model.to_json(), institution, signer.address, day, disclosed)
    return Report(unsigned.model, institution, signer.address, day, disclosed, signer.sign_digest(unsigned.digest))


def _write(path: Path, content: bytes) -> None:
    from collegium.files import write_atomically

    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path.absolute(), content)


def read_reports(home: Home, paths: tuple[Path, ...]) -> tuple[Final, list[Report]]:
    """Reports of one model, each checked against the chain, and that model."""
    from collegium.chain import Contracts
    from collegium_client.evaluation import Report
    from collegium_client.finals import open_final

    if not paths:
        raise UsageError("Which reports?", hint="collegium model compare a.json b.json c.json")
    reports = [Report.parse(path.read_bytes(), path.name) for path in paths]
    try:
        study, number = (int(reports[0].model[name]) for name in ("study", "round"))
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError(f"{paths[0].name} names no study and round.") from error
    final = open_final(home, study, number)
    contracts = Contracts(final.chain)
    for path, report in zip(paths, reports, strict=True):
        registered = contracts.node_key(report.institution)
        report.check(final.view, final.model, registered=registered, name=path.name)
    return final, reports


@command()
@click.argument("reports", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--min-sites", type=click.IntRange(min=2), default=3, show_default=True,
              help="Pool nothing that fewer sites published.")  # fmt: skip
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Forest plot to write, .png or .svg.")
def model_compare(app: App, reports: tuple[Path, ...], min_sites: int, plot: Path | None) -> Shown:
    """Check REPORTS against the chain, put the sites beside one another, and pool their counts."""
    from collegium_client.evaluation import compare
    from collegium_client.home import Home

    home = Home(app.home).require()
    final, read = read_reports(home, reports)
    found = compare(read, min_sites=min_sites)
    data = {"model": final.model.to_json(), **found.to_json(), "plot": None}
    if plot is not None:
        from collegium_client.forest import draw_forest

        plot.absolute().parent.mkdir(parents=True, exist_ok=True)
        draw_forest(found, plot, title=f"Study {final.model.study}, round {final.model.round}")
        data["plot"] = str(plot)
    return Shown(data, [f"round {final.model.round} of study {final.model.study}, {len(read)} sites", *table(found)])


def table(found: Comparison) -> list[str]:
    """Sites, pooled measures and heterogeneity, for a terminal."""
    lines = []
    for row in found.rows:
        shown = [f"{name} {measure}" for name, measure in row.measures.items() if measure is not None]
        lines.append(f"  {row.institution}  cases {row.cases or 'withheld'}  " + "  ".join(shown))
    for name, measure in found.pooled.measures.items():
        lines.append(f"  pooled {name:<12} {measure}  ({found.pooled.sites[name]} sites)")
    low, high = found.pooled.area_low, found.pooled.area_high
    if low is not None and high is not None:
        lines.append(f"  the counts bound the pooled AUROC by [{low:.3f}, {high:.3f}]")
    if found.differ is not None:
        each = found.differ
        lines.append(f"  sites differ: Q {each.q:.2f} on {each.freedom}, p {each.p:.3f}, I2 {100 * each.i2:.0f} %,"
                     f" random effects {each.summary}")  # fmt: skip
    return lines
