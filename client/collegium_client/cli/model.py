"""model pull and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import PreconditionError, VerificationError

__all__ = ["model_pull", "model_verify"]


def _final(view: Any, round: int | None) -> tuple[bytes, str, int, bytes | None]:
    """Root, CID, round and ctx of a finalized model; round 0 is genesis."""
    from collegium.records import ZERO32

    if round == 0:
        return view.plan.genesis_model_root, view.genesis_cid, 0, ZERO32
    if round is None:
        root, cid, number = view.model
        found = view.round(number)
        return root, cid, number, ZERO32 if found is None else found.ctx
    found = view.round(round)
    if found is None or found.record is None:
        raise PreconditionError(f"Round {round} is not final.", hint="See `collegium study show`.")
    final = found.proposals[-1]
    return final.proposal.new_model_root, final.model_cid, round, found.ctx


@command()
@click.argument("study", type=int)
@click.option("--round", "number", type=int, help="A final round; 0 is the genesis model [default: the latest].")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="safetensors file to write.")
def model_pull(app: App, study: int, number: int | None, output: Path | None) -> Shown:
    """Fetch a finalized model of STUDY from any store, verify it against the chain, write safetensors."""
    from safetensors.numpy import save

    from collegium.encoding import export_model
    from collegium.files import write_atomically
    from collegium.storage import parse_cid
    from collegium_client.home import Home
    from collegium_client.session import open_study, read_plan

    home = Home(app.home).require()
    chain = home.chain()
    view = open_study(home, chain, study)
    root, cid, number, ctx = _final(view, number)
    source = home.blobs(view.format, chain.chain_id)
    plan = read_plan(source, view)
    state = export_model(source.model(parse_cid(cid), root=root, ctx=ctx).elements, plan.table)
    path = output or home.folder / "models" / f"study-{study}-round-{number}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"study": str(study), "round": str(number), "root": root.hex(), "cid": cid}
    write_atomically(path.absolute(), save(state, metadata=metadata))
    data = {"study": study, "round": number, "cid": cid, "root": root, "path": str(path)}
    return Shown(data, f"Round {number}, verified: {path}")


@command()
@click.argument("study", type=int)
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--round", "number", type=int, help="A final round; 0 is the genesis model [default: the latest].")
def model_verify(app: App, study: int, path: Path, number: int | None) -> Shown:
    """Check a model file (blob or safetensors) against STUDY on chain; exit 4 when it is another model."""
    from safetensors.numpy import load

    from collegium.encoding import BlobKind, export_model, parse_blob
    from collegium.storage import parse_cid
    from collegium.tree import root_of
    from collegium_client.home import Home
    from collegium_client.session import open_study, read_plan

    home = Home(app.home).require()
    chain = home.chain()
    view = open_study(home, chain, study)
    root, cid, number, ctx = _final(view, number)
    content = path.read_bytes()
    data = {"study": study, "round": number, "cid": cid, "root": root, "path": str(path)}
    if content[:8] == b"CLGMBLOB":
        blob = parse_blob(content, kind=BlobKind.MODEL, format_id=view.plan.format_id, ctx=ctx)
        found = root_of(blob.payload)
        if found != root:
            raise VerificationError(
                f"{path} has root 0x{found.hex()}, round {number} has 0x{root.hex()}.", hint="It is another model."
            )
        return Shown(data, f"{path} is the model of round {number}.")
    try:
        state = load(content)
    except Exception as error:
        raise VerificationError(f"{path} is neither a blob nor safetensors: {error}.") from error
    source = home.blobs(view.format, chain.chain_id)
    plan = read_plan(source, view)
    right = export_model(source.model(parse_cid(cid), root=root, ctx=ctx).elements, plan.table)
    wrong = sorted(set(state) ^ set(right)) or [
        name for name, value in right.items()
        if state[name].dtype != value.dtype or state[name].shape != value.shape or (state[name] != value).any()
    ]  # fmt: skip
    if wrong:
        raise VerificationError(
            f"{path} is not the model of round {number}: {', '.join(wrong[:5])} differ.",
            hint=f"collegium model pull {study} --round {number}",
            tensors=wrong,
        )
    return Shown(data, f"{path} is the model of round {number}.")
