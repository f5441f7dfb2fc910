"""contracts verify, addresses, standard-json."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command, rpc_option
from collegium.errors import CollegiumError, ConfigError, UsageError

from .network import open_chain, open_deployment

if TYPE_CHECKING:
    from collegium.chain import Chain
    from collegium.contract_source.comparison import Comparison
    from collegium.contract_source.explorer import Explorer
    from collegium.contract_source.publishing import Outcome
    from collegium.contract_source.release import Release
    from collegium.contract_source.targets import Target

__all__ = ["contracts_addresses", "contracts_standard_json", "contracts_verify"]

KEY_VARIABLE = "ETHERSCAN_API_KEY"
_DEFAULT = "default"
_NAMES = click.option(
    "--contract", "names", multiple=True, metavar="NAME", help="Only this contract; repeat for more."
)


def _network_options(function: Callable[..., Any]) -> Callable[..., Any]:
    rpc = rpc_option()
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    deployment = click.option("--deployment", type=file, help="Deployment file instead of the home's.")
    decorated: Callable[..., Any] = rpc(deployment(_NAMES(function)))
    return decorated


@command()
@click.option("--sourcify", is_flag=False, flag_value=_DEFAULT, metavar="[URL]", help="Publish to Sourcify.")
@click.option("--blockscout", is_flag=False, flag_value=_DEFAULT, metavar="[URL]", help="Publish to a Blockscout.")
@click.option("--etherscan", is_flag=False, flag_value=_DEFAULT, metavar="[URL]", help="Publish to Etherscan (API v2).")
@click.option("--api-key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help=f"File with the Etherscan key [env {KEY_VARIABLE}].")  # fmt: skip
@click.option("--offline", is_flag=True, help="Compile the sources here and compare with the chain; publish nothing.")
@click.option("--against-release", is_flag=True, help="Compare the chain with the shipped hashes; needs no compiler.")
@click.option("--solc", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Compiler for --offline.")
@click.option("--timeout", type=float, default=300.0, show_default=True, help="Seconds to wait for a verdict.")
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), help="File that keeps open submissions.")
@_network_options
def contracts_verify(
    app: App,
    sourcify: str | None,
    blockscout: str | None,
    etherscan: str | None,
    api_key_file: Path | None,
    offline: bool,
    against_release: bool,
    solc: Path | None,
    timeout: float,
    state: Path | None,
    rpc_url: str | None,
    deployment: Path | None,
    names: tuple[str, ...],
) -> Shown:
    """Publish the contracts' source at block explorers, or compare it with the chain on this machine.

    Sends no transaction. Repeat it at will: what is verified stays so, what was accepted is asked for again.
    """
    from collegium.contract_source.release import Release
    from collegium.contract_source.targets import find_targets

    online = any(each is not None for each in (sourcify, blockscout, etherscan))
    if offline + against_release + online != 1:
        raise UsageError(
            "Name explorers (--sourcify, --blockscout, --etherscan), or one of --offline and --against-release.",
            hint="--offline compares with the chain and publishes nothing.",
        )
    release, found = Release.load(), open_deployment(app, deployment)
    targets = find_targets(found, release, names)
    if not online:
        return _compare(app, open_chain(app, deployment, rpc_url), targets, release, solc=solc, recompile=offline)
    chosen = {"sourcify": sourcify, "blockscout": blockscout, "etherscan": etherscan}
    explorers = _open_explorers(app, chosen, release, found.chain_id, api_key_file)
    path = state or app.home / "state" / "verification.json"
    return _publish(app, explorers, targets, release, timeout=timeout, path=path)


def _publish(
    app: App,
    explorers: Sequence[Explorer],
    targets: Sequence[Target],
    release: Release,
    *,
    timeout: float,
    path: Path,
) -> Shown:
    from collegium.contract_source.publishing import publish, summarize
    from collegium.contract_source.tickets import Tickets

    outcomes: list[Outcome] = []

    def say(line: str) -> None:
        app.say(f"  {line}")

    for explorer in explorers:
        app.say(f"{explorer.name}: {explorer.base}")
        outcomes += publish(explorer, targets, release, Tickets(path), timeout=timeout, say=say)
    error = summarize(outcomes)
    for each in outcomes:
        if each.note:
            app.warn(f"{each.contract} at {each.explorer}: {each.note}")
    data = {"outcomes": [each.to_json() for each in outcomes], "state": str(path)}
    return Shown(data, [_tell_outcome(each) for each in outcomes], error=error)


def _tell_outcome(outcome: Outcome) -> str:
    how = f" ({outcome.match.value} match)" if outcome.match.value != "none" else ""
    when = ", was so before" if outcome.already else ""
    why = f": {outcome.reason}" if outcome.reason else f"  {outcome.page}"
    return f"{outcome.explorer:<10} {outcome.contract:<15} {outcome.status}{how}{when}{why}".rstrip()


def _compare(
    app: App, chain: Chain, targets: Sequence[Target], release: Release, *, solc: Path | None, recompile: bool
) -> Shown:
    from collegium.contract_source.comparison import compare_with_chain
    from collegium.contract_source.compiler import compile_contract, find_compiler
    from collegium.contract_source.errors import BytecodeMismatchError

    compiler = find_compiler(release, solc) if recompile else None
    if compiler is None:
        app.warn("compared with this package's hashes only: whether its sources give that code takes --offline")
    compared: list[Comparison] = []
    for target in targets:
        app.say(f"{target.name}: {'compiling' if compiler else 'comparing'}")
        compiled = compile_contract(compiler, release, target.released) if compiler else None
        compared.append(compare_with_chain(chain.rpc, target, compiled))
    wrong = [each for each in compared if not each.ok]
    error: CollegiumError | None = None
    if wrong:
        first = next(finding for finding in wrong[0].findings if finding.status == "mismatch")
        error = BytecodeMismatchError(
            f"{', '.join(each.target.name for each in wrong)}: the chain holds something else than this release "
            f"({first.check}: {first.detail}).",
            hint="Do not use this deployment unless another release explains it: check `collegium version` and the "
            "deployment file.",
        )
    data = {
        "compiler": release.compiler,
        "recompiled": recompile,
        "chain_id": chain.chain_id,
        "contracts": [each.to_json() for each in compared],
    }
    return Shown(data, [line for each in compared for line in _tell_comparison(each)], error=error)


def _tell_comparison(comparison: Comparison) -> list[str]:
    verdict = f"{comparison.match.value} match" if comparison.ok else "MISMATCH"
    lines = [f"{comparison.target.name} {comparison.target.address}: {verdict}"]
    return lines + [f"  {each.status:<8} {each.check}: {each.detail}" for each in comparison.findings]


@command()
@_network_options
@click.option("--no-chain", is_flag=True, help="From the deployment file alone.")
def contracts_addresses(
    app: App, rpc_url: str | None, deployment: Path | None, names: tuple[str, ...], no_chain: bool
) -> Shown:
    """List the contracts: address, creation transaction, hash of the code on chain, constructor arguments."""
    from eth_hash.auto import keccak

    from collegium.contract_source.release import Release
    from collegium.contract_source.targets import find_targets

    found = open_deployment(app, deployment)
    targets = find_targets(found, Release.load(), names)
    chain = None if no_chain else open_chain(app, deployment, rpc_url)
    rows = []
    for target in targets:
        code = chain.rpc.request("eth_getCode", target.address, "latest") if chain else None
        rows.append(
            {
                "contract": target.name,
                "address": target.address,
                "transaction": target.transaction,
                "block": target.block,
                "created_by": target.released.created_by or target.creator,
                "code_hash": "0x" + keccak(bytes.fromhex(code[2:])).hex() if code and code != "0x" else None,
                "identifier": target.released.identifier,
                "constructor_arguments": target.encoded.hex(),
            }
        )
    lines = [f"chain {found.chain_id}, deployed by {found.deployer}"]
    for row in rows:
        lines += [f"{row['contract']:<15} {row['address']}  block {row['block']}  {row['transaction']}"]
        if chain is not None:
            lines += [f"{'':<15} code {row['code_hash'] or 'MISSING'}"]
    return Shown({"chain_id": found.chain_id, "deployer": found.deployer, "contracts": rows}, lines)


@command()
@click.option("--output", "-o", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder.")
@_NAMES
def contracts_standard_json(app: App, output: Path, names: tuple[str, ...]) -> Shown:
    """Write the standard-JSON inputs of this release, for an explorer's own web page."""
    from collegium.contract_source.release import Release
    from collegium.files import write_atomically

    release = Release.load()
    unknown = sorted(set(names) - set(release.contracts))
    if unknown:
        raise UsageError(f"This release has no contract {unknown[0]}.", hint=f"One of {', '.join(release.contracts)}.")
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in names or release.contracts:
        contract = release.contracts[name]
        path = output / contract.input
        write_atomically(path, release.input_text(contract).encode())
        rows.append({"contract": name, "file": str(path), "identifier": contract.identifier})
    lines = [f"{row['file']}  {row['identifier']}" for row in rows]
    return Shown({"compiler": f"v{release.compiler}", "inputs": rows}, [f"compiler v{release.compiler}", *lines])


def _open_explorers(
    app: App, chosen: dict[str, str | None], release: Release, chain_id: int, key_file: Path | None
) -> list[Explorer]:
    from collegium.contract_source import blockscout, etherscan, publishing, sourcify
    from collegium.contract_source.web import Web
    from collegium_client.home import Home
    from collegium_client.settings import FILE

    home = Home(app.home)
    contact = home.egress.contact if (home.folder / FILE).exists() else lambda url: None

    def web(url: str, secret: str = "") -> Web:
        return Web(url, secret=secret, proxies=home.settings.proxies, pause=publishing.PAUSE / 2, contact=contact)

    explorers: list[Explorer] = []
    if chosen["sourcify"]:
        explorers.append(sourcify.Sourcify(web(_or(chosen["sourcify"], sourcify.DEFAULT)), release))
    if chosen["blockscout"]:
        known = blockscout.INSTANCES.get(chain_id, "")
        if chosen["blockscout"] == _DEFAULT and not known:
            raise UsageError(f"Which Blockscout shows chain {chain_id}?", hint="--blockscout https://its.address")
        explorers.append(blockscout.Blockscout(web(_or(chosen["blockscout"], known)), release))
    if chosen["etherscan"]:
        key = _read_key(key_file)
        url = _or(chosen["etherscan"], etherscan.DEFAULT)
        explorers.append(etherscan.Etherscan(web(url, key), release, key, spacing=publishing.PAUSE / 5))
    return explorers


def _or(given: str, default: str) -> str:
    return default if given == _DEFAULT else given


def _read_key(file: Path | None) -> str:
    """The key from a file or the environment; never from the command line, where other users see it."""
    from collegium.contract_source.errors import ExplorerKeyError

    text = file.read_text(encoding="utf-8", errors="replace") if file else os.environ.get(KEY_VARIABLE, "")
    key = text.strip()
    if not key:
        raise ExplorerKeyError(
            "Etherscan wants an API key.", hint=f"Write it to a file for --api-key-file, or set {KEY_VARIABLE}."
        )
    if not key.isalnum() or not key.isascii():
        raise ConfigError("That is no Etherscan API key: it has letters and digits only.", hint="Check the file.")
    return key
