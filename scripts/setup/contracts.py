"""The compiled contracts, so that a demo or a test does not start with a compilation."""

from __future__ import annotations

from pathlib import Path

from .paths import BUILD, ROOT, SOLCX_FOLDER, VENV, environment
from .steps import Step, call

CONTRACTS = ROOT / "contracts"
MANIFEST = ROOT / ".build" / "__local__.json"


def sources() -> list[Path]:
    """Every Solidity file of ours."""
    return sorted(path for path in CONTRACTS.rglob("*.sol") if ".cache" not in path.parts)


def compile_contracts() -> None:
    """`ape compile`, all of it: it would pass over a file of which only the imports have changed.

    ape-solidity compiles a copy without node_modules, except for a project below the folder for temporary files.
    """
    call([str(VENV / "bin" / "ape"), "compile", "--force"], env={**environment(), "TMPDIR": str(ROOT)})


COMPILED = Step(
    name="contracts",
    title="Contracts",
    stamp=BUILD / "contracts.stamp",
    inputs=lambda: [
        *sources(),
        ROOT / "ape-config.yaml",
        ROOT / "package-lock.json",
        str(SOLCX_FOLDER),
    ],
    outputs=lambda: [MANIFEST] if sources() else [],
    act=compile_contracts,
)
