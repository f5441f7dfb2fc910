"""model pull and verify."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import VerificationError

__all__ = ["model_pull", "model_verify"]


@command()
@click.argument("study", type=int)
@click.option("--round", "number", type=int, help="A final round; 0 is the genesis model [default: the latest].")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="safetensors file to write.")
def model_pull(app: App, study: int, number: int | None, output: Path | None) -> Shown:
    """Fetch a finalized model of STUDY from any store, verify it against the chain, write safetensors."""
    from collegium.files import write_atomically
    from collegium_client.finals import open_final
    from collegium_client.home import Home
    from collegium_client.model_files import to_safetensors

    home = Home(app.home).require()
    final = open_final(home, study, number)
    number, root, cid = final.model.round, final.model.root, final.model.cid
    path = output or home.folder / "models" / f"study-{study}-round-{number}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = to_safetensors(final.state, final.model, task=final.plan.task_digest.hex(), plan_cid=final.view.plan_cid)
    write_atomically(path.absolute(), content)
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
    from collegium_client.finals import find_final
    from collegium_client.home import Home
    from collegium_client.session import open_study, read_plan

    home = Home(app.home).require()
    chain = home.chain()
    view = open_study(home, chain, study)
    root, cid, number, ctx = find_final(view, number)
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
