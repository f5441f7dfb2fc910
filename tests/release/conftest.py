"""One wheel and one fresh environment per test run; all tests that need them share a worker."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from collegium.chain.devnet import Devnet
from scripts.release.packages import build, copy_sources
from scripts.setup.paths import ROOT, is_required

from .newest import EPOCH, Environment, make_environment


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is on the disk, so that a test tells about the change at hand, and stays so while they run."""
    folder = tmp_path_factory.mktemp("sources")
    copy_sources(ROOT, folder)
    return folder


@pytest.fixture(scope="session")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        # A commit while the tests run must not look like another build.
        patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        return build(tmp_path_factory.mktemp("packages"), working_tree=True, root=sources)[0]


@pytest.fixture(scope="session")
def newest(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    folder = tmp_path_factory.mktemp("newest") / "venv"
    try:
        yield make_environment(folder, wheel)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = f"no fresh environment: {error} {getattr(error, 'stderr', '')}"
        if is_required():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    finally:
        # Hundreds of megabytes that nobody looks at again.
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def devnet() -> Iterator[Devnet]:
    with Devnet.start() as devnet:
        yield devnet
