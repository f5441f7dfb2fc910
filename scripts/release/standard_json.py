"""Writes collegium/release/: one standard-JSON input per deployed contract, and an index of what it compiles to.

    python -m scripts.release.standard_json              write (compiles; about a minute)
    python -m scripts.release.standard_json --check      compare with sources and .build; exit 1 when out of date
    python -m scripts.release.standard_json --recompile  compile the stored inputs as well; exit 1 when they differ

An input holds the literal text of every file that the contract is made of and nothing else, with the settings that
Ape compiles with: whoever compiles it gets the deployed bytecode, metadata hash included.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from collegium.chain.deployment import CONTRACTS
from collegium.contract_source.bytecode import mask
from collegium.contract_source.children import CHILDREN
from collegium.contract_source.release import SCHEMA, Release
from scripts.export_abi import find_source, render
from scripts.operations.artifacts import MANIFEST
from scripts.setup.paths import ROOT

from .compiler import COMPILER, compile_json, compile_metadata, read_settings

FOLDER = ROOT / "collegium" / "release"
INDEX = "index.json"
GAS = "gas.json"
"""Written by `python -m benchmarks gas`, see docs/deploy.md."""
OUTPUT = [
    "abi", "metadata", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences",
]  # fmt: skip


def contract_paths() -> dict[str, str]:
    """Every contract that a deployment consists of, those created by others included, with its source file."""
    return {name: str(find_source(name)[0].relative_to(ROOT)) for name in (*CONTRACTS, *CHILDREN)}


def build_inputs() -> dict[str, dict[str, Any]]:
    """Contract name to its minimal standard-JSON input."""
    settings, paths = read_settings(), contract_paths()
    return {
        name: {
            "language": "Solidity",
            "sources": {source: {"content": (ROOT / source).read_text(encoding="utf-8")} for source in sources},
            "settings": {**settings, "outputSelection": {paths[name]: {name: OUTPUT}}},
        }
        for name, sources in compile_metadata(paths, settings).items()
    }


def render_input(request: Mapping[str, Any]) -> str:
    """The file's text: one source a line, so that a diff shows which files changed."""
    return json.dumps(request, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def compile_entry(name: str, text: str) -> tuple[dict[str, Any], bytes]:
    """Entry of the index for an input, and the creation code."""
    request = json.loads(text)
    path = next(iter(request["settings"]["outputSelection"]))
    # The syntax tree names the immutables, which the compiler refers to by number.
    request["settings"]["outputSelection"] = {"*": {"": ["ast"]}, path: {name: OUTPUT}}
    answer = compile_json(request)
    contract = answer["contracts"][path][name]
    creation = bytes.fromhex(contract["evm"]["bytecode"]["object"])
    runtime = bytes.fromhex(contract["evm"]["deployedBytecode"]["object"])
    immutables = _name_immutables(answer["sources"], contract["evm"]["deployedBytecode"]["immutableReferences"])
    places = [(start, 32) for each in immutables for start in each["at"]]
    abi = sorted(contract["abi"], key=lambda each: (each["type"], each.get("name", ""), _inputs(each)))
    constructor: list[dict[str, Any]] = next((each["inputs"] for each in abi if each["type"] == "constructor"), [])
    entry = {
        "identifier": f"{path}:{name}",
        "input": f"{name}.json",
        "inputHash": hashlib.sha256(text.encode()).hexdigest(),
        "creation": {"bytes": len(creation), "begins": creation[:16].hex(), "keccak256": keccak(creation).hex()},
        "runtime": {"bytes": len(runtime), "maskedKeccak256": keccak(mask(runtime, places)).hex()},
        "immutables": immutables,
        "constructor": constructor,
        "abiHash": keccak(render(abi).encode()).hex(),
        "createdBy": CHILDREN[name].parent if name in CHILDREN else None,
    }
    return entry, creation


def _inputs(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry.get("inputs", ()), sort_keys=True)


def _name_immutables(sources: Mapping[str, Any], references: Mapping[str, Any]) -> list[dict[str, Any]]:
    declared: dict[str, tuple[str, str]] = {}
    for source in sources.values():
        for contract in source["ast"]["nodes"]:
            if contract["nodeType"] != "ContractDefinition":
                continue
            for node in contract["nodes"]:
                if node["nodeType"] == "VariableDeclaration":
                    kind = node["typeDescriptions"]["typeString"]
                    declared[str(node["id"])] = (f"{contract['name']}.{node['name']}", kind)
    found = []
    for number, places in references.items():
        name, kind = declared[number]
        if any(place["length"] != 32 for place in places):
            raise SystemExit(f"{name}: an immutable that does not take 32 bytes")
        found.append({"name": name, "type": kind, "at": sorted(place["start"] for place in places)})
    return sorted(found, key=lambda each: str(each["name"]))


def build_index(texts: Mapping[str, str]) -> dict[str, Any]:
    """Compiles every input. Raises SystemExit when a child is not inside the contract that creates it."""
    entries: dict[str, Any] = {}
    creations: dict[str, bytes] = {}
    for name, text in texts.items():
        print(f"compiling {name}", file=sys.stderr, flush=True)
        entries[name], creations[name] = compile_entry(name, text)
    for name, child in CHILDREN.items():
        if creations[name] not in creations[child.parent]:
            raise SystemExit(f"{child.parent} creates other code than what {name} alone compiles to")
    return {"schema": SCHEMA, "compiler": COMPILER, "settings": read_settings(), "contracts": entries}


def find_stale() -> list[str]:
    """What differs between the stored release and the sources, the ABIs and the code that is deployed from .build."""
    stale = []
    texts = {name: render_input(request) for name, request in build_inputs().items()}
    if {path.name for path in FOLDER.glob("*.json")} - {GAS} != {INDEX, *(f"{name}.json" for name in texts)}:
        return [f"{FOLDER.relative_to(ROOT)} does not hold one file per contract"]
    release = Release.load(FOLDER)
    built = json.loads(MANIFEST.read_text(encoding="utf-8"))["contractTypes"]
    for name, text in texts.items():
        entry = release.contracts[name]
        if (FOLDER / entry.input).read_text(encoding="utf-8") != text:
            stale.append(f"{name}: the sources changed")
        elif hashlib.sha256(text.encode()).hexdigest() != entry.input_hash:
            stale.append(f"{name}: the index is of another input")
        creation = bytes.fromhex(built[name]["deploymentBytecode"]["bytecode"].removeprefix("0x"))
        if keccak(creation) != entry.creation.hash:
            stale.append(f"{name}: .build holds other code (`ape compile` first)")
        abi = ROOT / "collegium" / "abi" / f"{name}.json"
        if abi.exists() and keccak(abi.read_bytes()) != entry.abi_hash:
            stale.append(f"{name}: collegium/abi holds another ABI")
    return stale


def find_different() -> list[str]:
    """Contracts whose stored input does not compile to what the index says."""
    kept = json.loads((FOLDER / INDEX).read_text(encoding="utf-8"))
    index = build_index({name: (FOLDER / f"{name}.json").read_text(encoding="utf-8") for name in kept["contracts"]})
    return [name for name, entry in index["contracts"].items() if entry != kept["contracts"][name]]


def write(folder: Path) -> None:
    """Write the inputs and the index."""
    texts = {name: render_input(request) for name, request in build_inputs().items()}
    index = build_index(texts)
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.json"):
        if path.name.removesuffix(".json") not in texts and path.name not in (INDEX, GAS):
            path.unlink()
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the standard-JSON inputs of the contracts.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 on a difference")
    parser.add_argument("--recompile", action="store_true", help="compare by compiling; exit 1 on a difference")
    given = parser.parse_args(arguments)
    if not given.check and not given.recompile:
        write(FOLDER)
    problems = find_stale() + (find_different() if given.recompile else [])
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print("Run `make abi`.", file=sys.stderr)
        return 1
    print("collegium/release is up to date", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
