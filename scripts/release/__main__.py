"""`python -m scripts.release`: the release folder. Wheel, source archive, bill of materials, checksums.

Whatever else lies in the folder, such as the compiler's inputs, gets its line in SHA256SUMS too.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from scripts.setup.paths import BUILD

from . import packages, sbom

FOLDER = BUILD / "release"
SUMS = "SHA256SUMS"


def write_sums(folder: Path) -> list[str]:
    """One line per file of the folder, as `sha256sum -c` reads it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}" for path in files]
    (folder / SUMS).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return lines


def main() -> int:
    for pattern in ("*.whl", "*.tar.gz", "*.cdx.json", "requirements.txt"):
        for old in FOLDER.glob(pattern):
            old.unlink()
    code = packages.main(["--folder", str(FOLDER), *sys.argv[1:]]) or sbom.main([])
    if code == 0:
        print(f"{len(write_sums(FOLDER))} files in {FOLDER}; check them with `sha256sum -c {SUMS}` there")
    return code


if __name__ == "__main__":
    sys.exit(main())
