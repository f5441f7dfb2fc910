"""`collegium model`: finalized models, checked against the chain before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from collegium.errors import PreconditionError, RootMismatchError, VerificationError
from collegium_client.home import Home

from .framework import App, Shown, command

__all__ = ["model_pull", "model_verify"]


@command()
@click.argument("study", type=int)
@click.option("--round", "number", type=int, default=None, help="A final round, 0 for genesis; default: the latest.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, help="Where to write; default: models/ of the home."
)
def model_pull(app: App, study: int, number: int | None, out: Path | None) -> Shown:
    """Fetch a finalized model of STUDY from any store, verify it, write it as safetensors."""
    import json

    from safetensors.numpy import save

    from collegium.encoding import export_model
    from collegium.files import write_atomically
    from collegium.storage import parse_cid
    from collegium_client.session import open_study, read_plan

    home = Home(app.home).require()
    chain = home.chain()
    view = open_study(home, chain, study)
    wanted = _find(view, number)
    source = home.blobs(view.format, chain.chain_id)
    plan = read_plan(source, view)
    with app.progress("fetching the model"):
        blob = source.model(parse_cid(wanted["cid"]), root=wanted["root"])
    tensors = export_model(blob.elements, plan.table)
    # One metadata key: with several, safetensors orders them differently from run to run.
    about = json.dumps(
        {"chain_id": chain.chain_id, "cid": wanted["cid"], "record": wanted["record"],
         "root": "0x" + wanted["root"].hex(), "round": wanted["round"], "study": study},
        sort_keys=True, separators=(",", ":"),
    )  # fmt: skip
    target = out or home.folder / "models" / f"study-{study}-round-{wanted['round']}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, save(tensors, metadata={"collegium": about}))
    data = {**wanted, "study": study, "file": str(target), "parameters": plan.table.count, "tensors": len(tensors)}
    return Shown(
        data, f"Round {wanted['round']} of study {study}: {plan.table.count:,} parameters, verified, in {target}"
    )


@command()
@click.argument("study", type=int)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--round", "number", type=int, default=None, help="The round it must be of; default: what the file says.")
def model_verify(app: App, study: int, file: Path, number: int | None) -> Shown:
    """Check a model FILE (safetensors or blob) against the chain; exit 4 when it differs."""
    from collegium.encoding import BlobKind, export_model, parse_blob
    from collegium.storage import parse_cid
    from collegium.tree import root_of

    from collegium_client.session import open_study, read_plan

    home = Home(app.home).require()
    chain = home.chain()
    view = open_study(home, chain, study)
    source = home.blobs(view.format, chain.chain_id)
    plan = read_plan(source, view)
    data = file.read_bytes()
    if data[:8] == b"CLGMBLOB":
        wanted = _find(view, number)
        blob = parse_blob(data, kind=BlobKind.MODEL, format_id=plan.table.format_id)
        is_same = root_of(blob.payload) == wanted["root"]
    else:
        tensors, claimed = _read_tensors(file)
        wanted = _find(view, number if number is not None else claimed)
        # Floats round the chain's integers, so the genuine model is exported and compared, not encoded back.
        genuine = export_model(source.model(parse_cid(wanted["cid"]), root=wanted["root"]).elements, plan.table)
        is_same = set(tensors) == set(genuine) and all(
            tensors[name].dtype == genuine[name].dtype and tensors[name].tobytes() == genuine[name].tobytes()
            for name in genuine
        )
    if not is_same:
        raise RootMismatchError(
            f"{file} is not the model of round {wanted['round']} of study {study}.",
            hint=f"Fetch the genuine one: `collegium model pull {study} --round {wanted['round']}`.",
            expected=wanted["root"],
        )
    shown = {**wanted, "study": study, "file": str(file), "verified": True}
    return Shown(shown, f"{file} is the model of round {wanted['round']} of study {study}, bit for bit.")


def _find(view: Any, number: int | None) -> dict[str, Any]:
    """Root, CID, round and record of a final model; the genesis model is round 0."""
    if number is None:
        number = view.model[2]
    if number == 0:
        return {"round": 0, "root": view.plan.genesis_model_root, "cid": view.genesis_cid, "record": ""}
    found = view.round(number)
    if found is None or found.record is None:
        finals = [each.number for each in view.final_rounds]
        raise PreconditionError(
            f"Round {number} of study {view.study_id} is not final.",
            hint=f"Final rounds: {', '.join(map(str, finals)) or 'none yet'}.",
        )
    final = found.proposals[-1]
    return {
        "round": number,
        "root": final.proposal.new_model_root,
        "cid": final.model_cid,
        "record": "0x" + found.record.hex(),
    }


def _read_tensors(file: Path) -> tuple[dict[str, Any], int | None]:
    """Tensors of a safetensors file, and the round that it claims."""
    import json

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            about = json.loads((opened.metadata() or {}).get("collegium", "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise VerificationError(
            f"{file} is neither a safetensors file nor a model blob: {error}.", hint="Fetch it again."
        ) from error
    return tensors, about.get("round")
