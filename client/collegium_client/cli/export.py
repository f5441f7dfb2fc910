"""model export."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import PreconditionError

if TYPE_CHECKING:
    from collegium_client.finals import Final
    from collegium_client.home import Home

__all__ = ["model_export"]


@command()
@click.argument("study", type=int)
@click.option("--round", "number", type=int, help="A final round; 0 is the genesis model [default: the latest].")
@click.option("--format", "kind", type=click.Choice(["safetensors", "onnx"]), default="safetensors", show_default=True)
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write.")
@click.option("--card", type=click.Path(path_type=Path, dir_okay=False), help="Model card to write, Markdown.")
@click.option("--report", "reports", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Evaluation report for the card, checked; repeat for more.")  # fmt: skip
@click.option("--local-buffers", is_flag=True,
              help="ONNX: put this institution's buffers (statistics of its data) into the file.")  # fmt: skip
def model_export(
    app: App,
    study: int,
    number: int | None,
    kind: str,
    output: Path,
    card: Path | None,
    reports: tuple[Path, ...],
    local_buffers: bool,
) -> Shown:
    """Write a final model of STUDY for use elsewhere, verified against the chain first; exit 4 on any mismatch.

    The same model always gives the same safetensors bytes. ONNX needs the approved task, which runs confined.
    """
    from collegium_client.finals import open_final
    from collegium_client.home import Home
    from collegium_client.model_files import to_safetensors

    from .evaluation import read_reports

    home = Home(app.home).require()
    if kind == "onnx":
        from collegium.extras import require

        require("onnx", "onnx")
    final = open_final(home, study, number)
    comparison = None
    if reports:
        from collegium_client.evaluation import compare

        _, read = read_reports(home, reports)
        for path, report in zip(reports, read, strict=True):
            report.check(final.view, final.model, registered=report.node_key, name=path.name)
        comparison = compare(read)
    more = {"task": final.plan.task_digest.hex(), "plan_cid": final.view.plan_cid}
    said: dict[str, Any] = {}
    if kind == "onnx":
        content, said = _to_onnx(app, home, final, more, local_buffers=local_buffers)
    else:
        content = to_safetensors(final.state, final.model, **more)
    _write(output, content)
    digest = hashlib.sha256(content).hexdigest()
    data = {**final.model.to_json(), "format": kind, "path": str(output), "bytes": len(content), "sha256": digest}
    data |= said
    lines = [f"round {final.model.round}, verified: {output}, {len(content)} bytes, sha256 {digest}"]
    if said:
        lines.append(f"input {said['input']}, output {said['output']}")
    if card is not None:
        from collegium_client.card import write_card

        _write(card, write_card(final, comparison, files=[(output.name, digest)]).encode())
        data["card"] = str(card)
        lines.append(f"card: {card}")
    return Shown(data, lines)


def _write(path: Path, content: bytes) -> None:
    from collegium.files import write_atomically

    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path.absolute(), content)


def _to_onnx(
    app: App, home: Home, final: Final, more: dict[str, str], *, local_buffers: bool
) -> tuple[bytes, dict[str, Any]]:
    from collegium_client.model_files import finish_onnx
    from collegium_client.session import open_sandbox

    task = home.approvals.require(final.view.plan.task_digest)
    kept = home.state / f"buffers-{final.model.study}.safetensors"
    with open_sandbox(home, task, name="export", table=final.plan.table, study=final.model.study) as sandbox:
        app.say(sandbox.confinement.explain())
        if sandbox.describe().buffers and not (local_buffers and kept.exists()):
            names = ", ".join(name for name, _ in sandbox.describe().buffers[:3])
            raise PreconditionError(
                f"The model has buffers ({names}) that are not federated, so the chain's model is not complete.",
                hint="Pass --local-buffers to add those of this institution, or use group normalization in the task.",
            )
        data, answer = sandbox.export_onnx(final.state, buffers=kept.read_bytes() if local_buffers else b"")
    content, unused = finish_onnx(data, final.state, final.model, **more)
    if unused:
        app.warn(f"The graph does not use {', '.join(unused[:5])}.")
    difference = answer.get("difference")
    if difference is None:
        app.warn("onnxruntime is not installed, so its results were not compared with torch's.")
    elif not float(difference) <= 1e-3:
        app.warn(f"onnxruntime differs from torch by up to {float(difference):.2g} on random inputs.")
    shapes = {name: [str(part) for part in answer.get(name, [])][:8] for name in ("input", "output")}
    return content, {**shapes, "opset": answer.get("opset"), "difference": difference, "unused": unused}
