"""The chain as the roles see it: keys, one node, what was sent, what happened. Nothing outside imports web3.

`Chain` reads; `Outbox` sends `intents`; `Journal` refuses a second signature; `Indexer` keeps the events, and
`StudyView` tells a study's history from them; `verify_logs` checks a node's logs against block hashes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import intents, keystore
    from .client import Chain, NetworkSettings
    from .contracts import Contracts
    from .deployment import Deployment
    from .devnet import Devnet
    from .errors import explain
    from .indexer import Indexer
    from .intents import Intent
    from .journal import Journal
    from .outbox import Outbox, Receipt
    from .profiles import NetworkProfile, profile
    from .receipts import Finding, verify_logs
    from .rpc import Rpc
    from .signer import LocalSigner, Signer
    from .views import RoundView, StudyView

_HOMES = {
    "Chain": "client",
    "Contracts": "contracts",
    "Deployment": "deployment",
    "Devnet": "devnet",
    "Finding": "receipts",
    "Indexer": "indexer",
    "Intent": "intents",
    "Journal": "journal",
    "LocalSigner": "signer",
    "NetworkProfile": "profiles",
    "NetworkSettings": "client",
    "Outbox": "outbox",
    "Receipt": "outbox",
    "RoundView": "views",
    "Rpc": "rpc",
    "Signer": "signer",
    "StudyView": "views",
    "explain": "errors",
    "profile": "profiles",
    "verify_logs": "receipts",
}
_MODULES = ("intents", "keystore")

__all__ = [
    "Chain",
    "Contracts",
    "Deployment",
    "Devnet",
    "Finding",
    "Indexer",
    "Intent",
    "Journal",
    "LocalSigner",
    "NetworkProfile",
    "NetworkSettings",
    "Outbox",
    "Receipt",
    "RoundView",
    "Rpc",
    "Signer",
    "StudyView",
    "explain",
    "intents",
    "keystore",
    "profile",
    "verify_logs",
]


def __getattr__(name: str) -> Any:
    """Import a part when it is first used, so that a command pays only for what it needs."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
