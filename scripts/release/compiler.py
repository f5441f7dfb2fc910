"""The compiler settings of this repository and one call of its compiler."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from scripts.setup.paths import ROOT, SOLC_COMMIT, SOLC_VERSION, environment, tool

__all__ = ["COMPILER", "compile_json", "compile_metadata", "read_settings"]

COMPILER = f"{SOLC_VERSION}+commit.{SOLC_COMMIT}"


def read_settings() -> dict[str, Any]:
    """Settings of standard JSON as Ape passes them to the compiler, from ape-config.yaml.

    Raises SystemExit when foundry.toml says otherwise: tests would run other code than what is deployed.
    """
    ape = yaml.safe_load((ROOT / "ape-config.yaml").read_text(encoding="utf-8"))["solidity"]
    foundry = tomllib.loads((ROOT / "foundry.toml").read_text(encoding="utf-8"))["profile"]["default"]
    pairs = {
        "compiler": (str(ape["version"]), SOLC_VERSION),
        "EVM version": (ape["evm_version"], foundry["evm_version"]),
        "optimizer": (ape["optimize"], foundry["optimizer"]),
        "optimizer runs": (ape["optimization_runs"], foundry["optimizer_runs"]),
        "via IR": (ape["via_ir"], foundry["via_ir"]),
    }
    for what, (one, other) in pairs.items():
        if one != other:
            raise SystemExit(f"{what}: ape-config.yaml says {one}, foundry.toml or the set-up says {other}")
    # Metadata settings are the compiler's own: an IPFS hash of the metadata ends the code.
    return {
        "evmVersion": ape["evm_version"],
        "optimizer": {"enabled": ape["optimize"], "runs": ape["optimization_runs"]},
        "remappings": sorted(ape["import_remapping"]),
        "viaIR": ape["via_ir"],
    }


def compile_json(request: Mapping[str, Any], *, base: bool = False) -> dict[str, Any]:
    """Answer of solc to a standard-JSON request. base: let it read imports from this repository.

    Raises SystemExit with the compiler's own words.
    """
    command = [str(tool("solc")), "--standard-json"]
    if base:
        command += ["--base-path", str(ROOT), "--allow-paths", str(ROOT)]
    done = subprocess.run(
        command, input=json.dumps(request), capture_output=True, text=True, cwd=ROOT, env=environment(), check=False
    )
    if done.returncode != 0 or not done.stdout.lstrip().startswith("{"):
        raise SystemExit(f"solc failed: {done.stderr or done.stdout}")
    answer: dict[str, Any] = json.loads(done.stdout)
    problems = [error["formattedMessage"] for error in answer.get("errors", ()) if error["severity"] == "error"]
    if problems:
        raise SystemExit("\n".join(problems))
    return answer


def compile_metadata(paths: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Contract name to the names of all source files it is made of. paths: contract name to its file.

    The compiler itself says what belongs to a contract; no code is generated, so this takes a second or two.
    """
    request = {
        "language": "Solidity",
        "sources": {path: {"content": (ROOT / path).read_text(encoding="utf-8")} for path in paths.values()},
        "settings": {
            **settings,
            "outputSelection": {path: {name: ["metadata"]} for name, path in paths.items()},
        },
    }
    answer = compile_json(request, base=True)["contracts"]
    return {name: sorted(json.loads(answer[path][name]["metadata"])["sources"]) for name, path in paths.items()}
