"""Anvil, cast and forge from npm, and the Solidity compiler."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from .paths import (
    BIN,
    FOUNDRY_TOOLS,
    NODE_MODULES,
    ROOT,
    SOLC_COMMIT,
    SOLC_VERSION,
    SOLCX_FOLDER,
    VENV_PYTHON,
    environment,
    node_platform,
)
from .steps import SetupError, Step, call, link, read_json, say

NODE_OLDEST = 18
SOLC = SOLCX_FOLDER / f"solc-v{SOLC_VERSION}"
SHIM = ROOT / "scripts" / "setup" / "solc.sh"
DOWNLOAD_SECONDS = 30


def check_node() -> None:
    """Node.js and npm are the one thing that has to be there already, besides Python."""
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            raise SetupError(
                f"{name} is not on PATH. Install Node.js {NODE_OLDEST} or newer with npm "
                "(Debian: `apt-get install nodejs npm`; macOS: `brew install node`)."
            )
    version = call(["node", "--version"], quiet=True).strip()
    match = re.match(r"v(\d+)", version)
    if match is None or int(match[1]) < NODE_OLDEST:
        raise SetupError(f"Node.js {version} is too old. Install {NODE_OLDEST} or newer.")


def native(name: str) -> Path:
    """The executable itself: the launcher in `.bin` would outlive a killed parent's signal."""
    return NODE_MODULES / "@foundry-rs" / f"{name}-{node_platform()}" / "bin" / name


def install_node_packages() -> None:
    """`npm ci`, then make sure that this platform's executables came with it."""
    check_node()
    # No package here needs its install script: the executables are ordinary packages.
    call(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
    absent = [name for name in FOUNDRY_TOOLS if not native(name).exists()]
    if absent:
        wanted = read_json(ROOT / "package.json")["dependencies"]
        assert isinstance(wanted, dict)
        names = [f"@foundry-rs/{name}-{node_platform()}@{wanted[f'@foundry-rs/{name}']}" for name in absent]
        call(["npm", "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit",
              "--no-fund", "--loglevel=error", *names])
    for name in FOUNDRY_TOOLS:
        link(native(name), BIN / name)
        call([str(BIN / name), "--version"], quiet=True, timeout=60)


def install_solc() -> None:
    """The native compiler through py-solc-x where its download is reached, else npm's build of it."""
    SOLCX_FOLDER.mkdir(parents=True, exist_ok=True)
    for path in SOLCX_FOLDER.iterdir():
        if path.is_file() or path.is_symlink():
            path.unlink()
    command = [str(VENV_PYTHON), "-c", f"import solcx; solcx.install_solc({SOLC_VERSION!r})"]
    try:
        call(command, env=environment(), quiet=True, timeout=DOWNLOAD_SECONDS)
    except SetupError:
        say("the native compiler cannot be downloaded; using the one from npm (same bytecode, slower)")
        for path in SOLCX_FOLDER.iterdir():
            path.unlink()
        # A copy, not a link: py-solc-x follows links, and the script finds npm's build from here.
        shutil.copy(SHIM, SOLC)
        SOLC.chmod(0o755)
    link(SOLC, BIN / "solc")
    version = subprocess.run([str(BIN / "solc"), "--version"], capture_output=True, text=True, check=False)
    if f"{SOLC_VERSION}+commit.{SOLC_COMMIT}" not in version.stdout:
        raise SetupError(f"the compiler calls itself {version.stdout.strip()!r}, not {SOLC_VERSION}. "
                         "Run `make clean setup`.")


NODE = Step(
    name="node",
    title="Anvil, cast, forge and OpenZeppelin",
    stamp=NODE_MODULES / ".collegium.stamp",
    inputs=lambda: [ROOT / "package.json", ROOT / "package-lock.json", node_platform(), str(ROOT)],
    outputs=lambda: [
        *(BIN / name for name in FOUNDRY_TOOLS),
        NODE_MODULES / "solc" / "soljson.js",
        NODE_MODULES / "@openzeppelin" / "contracts" / "package.json",
    ],
    act=install_node_packages,
)

COMPILER = Step(
    name="solc",
    title=f"Solidity compiler {SOLC_VERSION}",
    stamp=SOLCX_FOLDER / ".collegium.stamp",
    inputs=lambda: [SOLC_VERSION, SHIM, ROOT / "scripts" / "setup" / "solc.js", str(ROOT)],
    outputs=lambda: [SOLC, BIN / "solc"],
    act=install_solc,
)
