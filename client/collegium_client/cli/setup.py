"""init, doctor, version."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

from collegium.cli.framework import App, Shown, command, rpc_option
from collegium.errors import CollegiumError, ConfigError, PreconditionError, UsageError
from collegium.files import write_atomically

from . import reaching
from .config import check_document, parse_assignments, stray_variables
from .reaching import Advice as _Warning

__all__ = ["doctor", "init", "version"]


@command()
@rpc_option("JSON-RPC address of the chain.")
@click.option("--profile", help="Settings for a kind of chain: devnet, sepolia, mainnet, l2.")
@click.option("--chain-id", type=int, help="Its chain id [default: that of the deployment or the profile].")
@click.option("--deployment", type=click.Path(path_type=Path), help="Deployment file of the federation.")
@click.option("--coordinator", "coordinators", multiple=True, help="Address of a coordinator; repeat for more.")
@click.option("--store", "stores", multiple=True, help="Further store to read from; repeat for more.")
@click.option("--push", "push", multiple=True, help="Store to push revealed updates to [default: the coordinators].")
@click.option("--set", "extra", multiple=True, metavar="TABLE.NAME=VALUE", help="Any other setting, as in TOML.")
@click.option("--force", is_flag=True, help="Write collegium.toml anew; settings not given again are dropped.")
def init(
    app: App,
    rpc_url: str | None,
    profile: str | None,
    chain_id: int | None,
    deployment: Path | None,
    coordinators: tuple[str, ...],
    stores: tuple[str, ...],
    push: tuple[str, ...],
    extra: tuple[str, ...],
    force: bool,
) -> Shown:
    """Make a home: settings, keystore folder, state. Existing keys and state are never touched."""
    import tomlkit

    from collegium_client.settings import FILE

    path = app.home / FILE
    if path.exists() and not force:
        raise PreconditionError(f"There is a home at {app.home} already.", hint="Edit its file, or pass --force.")
    if rpc_url is not None:
        from collegium.chain.rpc import split_urls

        split_urls(rpc_url)
    _check_given(app, deployment, chain_id or profile, coordinators, stores=(*stores, *push))
    document = tomlkit.document()
    document.add(tomlkit.comment("Settings of this party; `collegium config show` explains them."))
    if deployment is not None:
        from collegium.chain import Deployment

        known = chain_id
        if deployment.expanduser().is_file():
            known = Deployment.load(deployment.expanduser()).chain_id
        if chain_id is not None and known != chain_id:
            raise ConfigError(f"{deployment} is of chain {known}, not {chain_id}.", hint="Leave --chain-id out.")
        chain_id = known
    if profile is not None and chain_id is None:
        from collegium.chain.profiles import profile as find_profile

        chain_id = find_profile(profile).chain_ids[0]
    values: dict[str, dict[str, Any]] = {
        "network": {
            "profile": profile,
            "rpc_url": rpc_url if rpc_url is None or "," not in rpc_url else rpc_url.split(", "),
            "chain_id": chain_id,
            "deployment": str(deployment.expanduser().absolute()) if deployment else None,
        },
        "coordinators": {"urls": list(coordinators) or None},
        "stores": {"read": list(stores) or None, "push": list(push) or None},
    }
    for table, entries in parse_assignments(extra).items():
        values.setdefault(table, {}).update(entries)
    for table, entries in values.items():
        given = {key: value for key, value in entries.items() if value is not None}
        if given:
            section = tomlkit.table()
            section.update(given)
            document.add(table, section)
    check_document(tomlkit.dumps(document), source="An option or --set")
    if path.exists():
        _warn_of_dropped(app, path, tomlkit.dumps(document))
    for folder in ("keystore", "state", "store", "tls", "tasks", "logs"):
        (app.home / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, tomlkit.dumps(document).encode())
    return Shown(
        {"home": str(app.home), "settings": str(path)},
        f"Made {app.home}.\nNext: collegium keys new institution; collegium keys new node; collegium doctor",
    )


def _check_given(
    app: App, deployment: Path | None, chain: object, coordinators: tuple[str, ...], *, stores: tuple[str, ...]
) -> None:
    """Before a home is made of it. chain: its id or profile, if given. Raises UsageError."""
    if deployment is not None and not deployment.expanduser().exists():
        if chain is None:
            raise UsageError(
                f"There is no deployment at {deployment}.",
                hint="Name the file that the operator gave you; give --chain-id, too, when the file comes later.",
            )
        app.warn(f"There is no deployment at {deployment} yet; nothing works before it is there.")
    for url in coordinators:
        if re.fullmatch(r"https?://[^\s/]+\S*", url) is None:
            raise UsageError(f"--coordinator {url!r} is no URL.", hint="Write https://HOST:PORT.")
    for uri in stores:
        if re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", uri) is None:
            raise UsageError(f"{uri!r} is no address of a store.", hint="Write https://HOST:PORT or file:///FOLDER.")


def _warn_of_dropped(app: App, path: Path, fresh: str) -> None:
    """Tables and names that the file has and the new one has not."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        old = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except (OSError, UnicodeDecodeError, TOMLKitError):
        app.warn(f"{path} could not be read; whatever was set in it is dropped.")
        return
    new = tomlkit.parse(fresh).unwrap()
    dropped = []
    for table, entries in old.items():
        names = sorted(set(entries) - set(new.get(table, {}))) if isinstance(entries, dict) else []
        if table not in new:
            dropped.append(f"[{table}]" + (f" ({', '.join(names)})" if names else ""))
        else:
            dropped += [f"{table}.{name}" for name in names]
    if dropped:
        app.warn(f"Dropped from {path}: {', '.join(dropped)}. Set again what is needed: `collegium config set`.")


@command()
def version(app: App) -> Shown:
    """Show versions of collegium, Python and what decides results."""
    found = {"collegium": _version("collegium"), "python": platform.python_version(), "platform": platform.platform()}
    found |= {name: _version(name) for name in ("numpy", "torch", "web3", "safetensors")}
    return Shown(found, [f"{name} {value}" for name, value in found.items()])


def _version(name: str) -> str:
    from collegium_client import __version__

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return __version__ if name == "collegium" else "not installed"


@command()
@click.option("--study", type=int, help="Also check membership, task and stores of this study.")
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@click.option("--egress", is_flag=True, help="Only list what this home contacts, for the firewall.")
def doctor(app: App, study: int | None, strict: bool, egress: bool) -> Shown:
    """Check everything a round needs, with the fix for what is missing."""
    from collegium_client.home import Home

    home = Home(app.home)
    destinations = reaching.check_egress(home)
    listed: list[dict[str, Any]] = [each.to_json() for each in destinations]
    if egress:
        metrics = home.settings.tables().get("observability", {}).get("metrics", "")
        return Shown({"egress": listed}, reaching.egress_lines(destinations, metrics))
    rows: list[dict[str, str]] = []

    def check(name: str, work: Callable[[], str]) -> bool:
        try:
            rows.append({"check": name, "result": "ok", "detail": work(), "fix": ""})
        except _Warning as warning:
            rows.append({"check": name, "result": "warning", "detail": warning.detail, "fix": warning.fix})
        except CollegiumError as error:
            rows.append({"check": name, "result": "failed", "detail": error.message, "fix": error.hint})
            return False
        except Exception as error:
            rows.append({"check": name, "result": "failed", "detail": f"{type(error).__name__}: {error}", "fix": ""})
            return False
        return True

    for line in stray_variables(home.settings.origins):
        rows.append({"check": "environment", "result": "warning", "detail": line, "fix": "Unset it or mend its name."})
    check("home", lambda: str(home.require().folder))
    for role in ("institution", "node"):
        check(f"{role} key", lambda role=role: _check_key(home, role))  # type: ignore[misc]
    if check("chain", lambda: _check_chain(home)):
        check("chain nodes", lambda: _check_nodes(home))
        check("clock", lambda: _check_clock(home))
        check("gas of the node key", lambda: _check_gas(home))
        check("admission", lambda: _check_admission(home))
    if not home.settings.coordinators:
        check("coordinators", _no_coordinators)
    if any(url.startswith("https://") for url in home.settings.coordinators):
        check("TLS certificate", lambda: reaching.check_certificate(home))
    for url in home.settings.coordinators:
        check(f"coordinator {url}", lambda url=url: reaching.check_coordinator(home, url))  # type: ignore[misc]
    for uri in home.settings.read_stores:
        check(f"store {uri}", lambda uri=uri: reaching.check_store(home, uri))  # type: ignore[misc]
    check("disk", lambda: _check_disk(home.folder))
    check("torch", _check_torch)
    check("confinement of tasks", lambda: _check_confinement(home))
    if study is not None:
        check(f"study {study}", lambda: _check_study(home, study))
    bad = [row for row in rows if row["result"] == "failed" or (strict and row["result"] == "warning")]
    lines = [f"{_mark(row['result'])} {row['check']}: {row['detail']}" for row in rows]
    lines += [f"  fix {row['check']}: {row['fix']}" for row in rows if row["fix"]]
    error = None
    if bad:
        error = PreconditionError(
            f"{len(bad)} of {len(rows)} checks failed.", hint=bad[0]["fix"] or "See the table above."
        )
    return Shown({"checks": rows, "egress": listed}, lines, error=error)


def _mark(result: str) -> str:
    return {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}[result]


def _check_key(home: Any, role: str) -> str:
    from collegium.chain import keystore

    path = home.keystore(role)
    if not path.exists():
        raise PreconditionError(f"no key at {path}", hint=f"collegium keys new {role}")
    loose = keystore.find_loose_permissions(path)
    if loose:
        raise _Warning(str(loose), f"chmod 600 {path}")
    return str(home.address(role) or path)


def _check_chain(home: Any) -> str:
    chain = home.chain()
    return f"chain {chain.chain_id} at {chain.rpc.name}, Collegium {chain.address_of('Collegium')}"


def _check_nodes(home: Any) -> str:
    nodes = home.chain().rpc.survey()
    problems = [node.problem for node in nodes if node.problem]
    if problems:
        raise _Warning("; ".join(problems), "Mend or replace it in network.rpc_url; the others are used meanwhile.")
    return ", ".join(f"{node.name} at block {node.head}" for node in nodes)


def _check_clock(home: Any) -> str:
    from collegium.chain.following import TOLERANCE, measure_skew

    skew = measure_skew(home.chain())
    if abs(skew) > TOLERANCE:
        which = "ahead of" if skew > 0 else "behind"
        raise _Warning(
            f"this machine is {abs(skew):.0f} s {which} the chain",
            "Set the clock (NTP); until then rounds go by the chain's time.",
        )
    return f"within {TOLERANCE:.0f} s of the chain"


def _check_gas(home: Any) -> str:
    address = home.address("node")
    if address is None:
        raise _Warning("no node key", "collegium keys new node")
    wei = home.chain().balance(address)
    if wei == 0:
        raise _Warning(f"{address} has no coin: it cannot carry its own messages", "Send it some of the chain's coin.")
    return f"{wei / 1e18:.6f}"


def _check_disk(folder: Path) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < 1 << 30:
        raise _Warning(f"{free >> 20} MiB free", "Free some space.")
    return f"{free >> 30} GiB free"


def _check_torch() -> str:
    import torch

    return f"{torch.__version__}, {'CUDA' if torch.cuda.is_available() else f'CPU, {os.cpu_count()} cores'}"


def _check_confinement(home: Any) -> str:
    from collegium_client.sandbox import Sandbox
    from collegium_client.task import TaskSource

    source = TaskSource((("task.py", b""),), True)
    with Sandbox(source, home.settings.sandbox(), protect=home.protected) as sandbox:
        found = sandbox.start()
    if not (found.no_network and found.no_keystore and found.no_writes):
        raise _Warning(found.explain(), f"Run on Linux 5.13 or newer (this is {sys.platform}).")
    return str(found.explain())


def _check_admission(home: Any) -> str:
    from collegium.chain import Contracts

    contracts = Contracts(home.chain())
    institution, node = home.address("institution"), home.address("node")
    if institution is None:
        raise _Warning("no institution key in this home", "collegium keys new institution")
    if not contracts.is_active(institution):
        raise _Warning(f"{institution} is not admitted", "collegium institution register")
    if node is None or contracts.node_key(institution) != node:
        raise _Warning(f"{node} is not the node key of {institution}", "collegium institution register")
    return f"{institution} is admitted, {node} speaks for it"


def _no_coordinators() -> str:
    raise _Warning(
        "none: this hospital would carry every message itself",
        """collegium config set 'coordinators.urls=["URL"]'""",
    )


def _check_study(home: Any, study: int) -> str:
    from collegium_client.session import open_study, read_plan

    chain = home.chain()
    view = open_study(home, chain, study)
    institution = home.address("institution")
    seat = view.seat_of(institution) if institution else None
    if seat is None or seat.left is not None:
        raise PreconditionError("this institution is not a member", hint=f"collegium join {study}")
    plan = read_plan(home.blobs(view.format, chain.chain_id), view)
    home.approvals.require(view.plan.task_digest)
    return f"{plan.title}: plan and task are here"
