"""What this release compiles to: `collegium/release/`, written by `scripts.release.standard_json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Self

from collegium.errors import ConfigError

__all__ = ["SCHEMA", "Code", "Immutable", "Release", "ReleasedContract"]

SCHEMA = "collegium.release/1"


@dataclass(frozen=True, slots=True)
class Immutable:
    """name: `Contract.variable` where it is declared. at: offsets in the runtime code, 32 bytes each."""

    name: str
    type: str
    at: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """size: bytes. hash: keccak256; of runtime code with zeros for the immutables. begins: the first bytes."""

    size: int
    hash: bytes
    begins: bytes = b""

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        digest = entry.get("keccak256") or entry["maskedKeccak256"]
        return cls(int(entry["bytes"]), bytes.fromhex(digest), bytes.fromhex(entry.get("begins", "")))


@dataclass(frozen=True, slots=True)
class ReleasedContract:
    """identifier: `path:Name`. input: file of the standard JSON. constructor: ABI of its parameters.

    created_by: name of the contract whose constructor creates this one, None when a transaction does.
    """

    name: str
    identifier: str
    input: str
    input_hash: str
    creation: Code
    runtime: Code
    immutables: tuple[Immutable, ...]
    constructor: tuple[Mapping[str, Any], ...]
    abi_hash: bytes
    created_by: str | None

    @property
    def places(self) -> list[tuple[int, int]]:
        """(start, length) of every immutable in the runtime code."""
        return [(start, 32) for each in self.immutables for start in each.at]

    @classmethod
    def from_json(cls, name: str, entry: Mapping[str, Any]) -> Self:
        return cls(
            name=name,
            identifier=str(entry["identifier"]),
            input=str(entry["input"]),
            input_hash=str(entry["inputHash"]),
            creation=Code.from_json(entry["creation"]),
            runtime=Code.from_json(entry["runtime"]),
            immutables=tuple(Immutable(e["name"], e["type"], tuple(e["at"])) for e in entry["immutables"]),
            constructor=tuple(entry["constructor"]),
            abi_hash=bytes.fromhex(entry["abiHash"]),
            created_by=entry["createdBy"],
        )


@dataclass(frozen=True, slots=True)
class Release:
    """compiler: full version with commit, as explorers name it without the leading `v`."""

    compiler: str
    settings: Mapping[str, Any]
    contracts: Mapping[str, ReleasedContract]
    folder: Traversable

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """The packaged release, or one in another folder. Raises ConfigError when it is not there or not readable."""
        place: Traversable = folder or resources.files("collegium") / "release"
        try:
            content = json.loads((place / "index.json").read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r}")
            contracts = {name: ReleasedContract.from_json(name, each) for name, each in content["contracts"].items()}
            return cls(str(content["compiler"]), dict(content["settings"]), contracts, place)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{place} holds no release of the contracts: {error!r}.", hint="Install the package anew."
            ) from error

    def input_text(self, contract: ReleasedContract) -> str:
        """The standard-JSON input as stored. Raises ConfigError when it is not the one that the index is about."""
        text = (self.folder / contract.input).read_text(encoding="utf-8")
        if hashlib.sha256(text.encode()).hexdigest() != contract.input_hash:
            raise ConfigError(f"{contract.input} was changed after it was compiled.", hint="Install the package anew.")
        return text
