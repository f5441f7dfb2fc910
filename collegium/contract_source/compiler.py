"""The Solidity compiler of this machine, for checking that the shipped sources give the deployed bytecode."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from collegium.errors import UsageError
from collegium.words import printable

from .errors import BytecodeMismatchError, CompilerMissingError
from .release import Release, ReleasedContract

__all__ = ["SOLC_VARIABLE", "Compiled", "compile_contract", "find_compiler"]

SOLC_VARIABLE = "COLLEGIUM_SOLC"
SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Compiled:
    """Bytecode with zeros for the immutables; creation without constructor arguments."""

    creation: bytes
    runtime: bytes


def find_compiler(release: Release, given: Path | None = None) -> Path:
    """A solc of exactly the release's version: `given`, COLLEGIUM_SOLC, one of py-solc-x, or one on PATH.

    Raises UsageError when a named one is not it, CompilerMissingError when there is none.
    """
    named = given or (Path(os.environ[SOLC_VARIABLE]) if os.environ.get(SOLC_VARIABLE) else None)
    if named is not None:
        said = _version(named)
        if release.compiler not in said:
            raise UsageError(
                f"{named} is not solc {release.compiler}; it says {said or 'nothing'!r}.",
                hint="Other versions give other bytecode; name one of this version.",
            )
        return named
    for candidate in _candidates(release.compiler.partition("+")[0]):
        if release.compiler in _version(candidate):
            return candidate
    short = release.compiler.partition("+")[0]
    raise CompilerMissingError(
        f"There is no solc {release.compiler} on this machine.",
        hint=f'Run `pip install "collegium[deploy]"` and `python -m solcx.install v{short}`, or name one with --solc, '
        "or compare with the shipped hashes: --against-release.",
    )


def _candidates(version: str) -> Iterator[Path]:
    # py-solc-x keeps its compilers in one folder; importing it would cost a second and is an extra.
    clone = Path(__file__).parents[2] / "build" / "solcx"
    folders = [os.environ.get("SOLCX_BINARY_PATH"), clone, Path.home() / ".solcx"]
    for folder in folders:
        if folder:
            for name in (f"solc-v{version}", f"solc-v{version}/solc.exe"):
                if (Path(folder) / name).is_file():
                    yield Path(folder) / name
    on_path = shutil.which("solc")
    if on_path:
        yield Path(on_path)


def _version(solc: Path) -> str:
    try:
        done = subprocess.run([str(solc), "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return printable(" ".join(done.stdout.split()), 300)


def compile_contract(solc: Path, release: Release, contract: ReleasedContract) -> Compiled:
    """Compile a contract's stored input and hold the result against the release's own index.

    Raises BytecodeMismatchError when the release contradicts itself, CompilerMissingError when solc fails.
    """
    text = release.input_text(contract)
    path, _, name = contract.identifier.rpartition(":")
    answer = _run(solc, text)
    try:
        evm = answer["contracts"][path][name]["evm"]
        found = Compiled(bytes.fromhex(evm["bytecode"]["object"]), bytes.fromhex(evm["deployedBytecode"]["object"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CompilerMissingError(
            f"solc did not compile {name}: {_problems(answer)}", hint="Try another --solc."
        ) from error
    if keccak(found.creation) != contract.creation.hash:
        raise BytecodeMismatchError(
            f"The sources of {name} in this package compile to other code than the package says.",
            hint="The package was altered, or this solc is not the official one; install it anew.",
        )
    return found


def _run(solc: Path, text: str) -> Mapping[str, Any]:
    try:
        done = subprocess.run(
            [str(solc), "--standard-json"], input=text, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        answer: Mapping[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise CompilerMissingError(f"{solc} did not finish in {SECONDS:.0f} s.", hint="Try another --solc.") from error
    except (OSError, ValueError) as error:
        raise CompilerMissingError(f"{solc} cannot be used: {error}", hint="Name another one with --solc.") from error
    return answer


def _problems(answer: Mapping[str, Any]) -> str:
    errors = [str(each.get("message", "")) for each in answer.get("errors", ()) if each.get("severity") == "error"]
    return printable("; ".join(errors), 500) or "it says nothing"
