"""The compiled contracts, as `ape compile` leaves them in `.build/__local__.json`."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi.abi import encode

from collegium.errors import PreconditionError
from scripts.setup.paths import ROOT

__all__ = ["MANIFEST", "Artifact", "load_artifacts"]

MANIFEST = ROOT / ".build" / "__local__.json"


@dataclass(frozen=True, slots=True)
class Artifact:
    """abi: as the compiler gives it. creation: bytecode without constructor arguments."""

    name: str
    abi: Sequence[Mapping[str, Any]]
    creation: bytes

    def encode_creation(self, arguments: Sequence[Any]) -> bytes:
        """Data of the transaction that creates the contract."""
        inputs: Sequence[Mapping[str, Any]] = next(
            (entry["inputs"] for entry in self.abi if entry["type"] == "constructor"), []
        )
        return self.creation + encode([_type(each) for each in inputs], list(arguments))


def _type(entry: Mapping[str, Any]) -> str:
    kind = str(entry["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(each) for each in entry['components'])}){kind[5:]}"


@functools.cache
def load_artifacts(manifest: Path = MANIFEST) -> Mapping[str, Artifact]:
    """Contract name to artifact. Raises PreconditionError when nothing has been compiled."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise PreconditionError(
            f"There are no compiled contracts at {manifest}.", hint="Run `make setup` (or `ape compile`)."
        ) from error
    found = {}
    for name, entry in (content.get("contractTypes") or {}).items():
        code = (entry.get("deploymentBytecode") or {}).get("bytecode") or "0x"
        found[name] = Artifact(name, entry.get("abi") or [], bytes.fromhex(code.removeprefix("0x")))
    if not found:
        raise PreconditionError(f"{manifest} holds no contracts.", hint="Run `make setup` (or `ape compile`).")
    return found
