"""Deployment and node of commands that need no home: as the flags say, else as the home says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from collegium.cli.framework import App

if TYPE_CHECKING:
    from collegium.chain import Chain, Deployment
    from collegium_client.home import Home

__all__ = ["open_chain", "open_deployment", "open_home"]


def open_home(app: App, *, rpc_url: str | None, deployment: str | Path | None) -> Home:
    """The home, or none at all, with node and contracts of the flags. Raises DeploymentMissingError or ConfigError."""
    from collegium.chain import Deployment
    from collegium_client.home import Home

    flags: dict[str, Any] = {"network.rpc_url": rpc_url}
    if deployment is not None:
        # Who has no home knows the chain from this file alone; the node must serve that chain.
        path = Path(deployment).resolve()
        flags |= {"network.deployment": str(path), "network.chain_id": Deployment.load(path).chain_id}
    return Home(app.home, flags=flags)


def open_deployment(app: App, file: Path | None) -> Deployment:
    """Raises DeploymentMissingError or ConfigError."""
    from collegium.chain import Deployment
    from collegium_client.home import Home

    if file is not None:
        return Deployment.load(file)
    settings = Home(app.home).settings
    named = settings.get("network", "deployment")
    return Deployment.find(
        settings.get("network", "chain_id"), settings.path("network", "deployment") if named else None
    )


def open_chain(app: App, file: Path | None, rpc_url: str | None) -> Chain:
    """For reading. Raises as `open_deployment` and `Chain.connect`."""
    from dataclasses import replace

    from collegium.chain import Chain
    from collegium_client.home import Home

    known, deployment = Home(app.home).network, open_deployment(app, file)
    settings = replace(known, rpc_url=rpc_url or known.rpc_url, chain_id=deployment.chain_id)
    return Chain.connect(settings, deployment=deployment)
