"""Settings of every test: where the tools are, what a missing one means, how much is generated."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from scripts.setup import paths

# A test started by hand finds the same tools as one started by make.
os.environ.update(paths.environment())
# Workers share the machine; each result must be the same with any number of threads anyway.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile(
    "default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

TOOLS_OF_MARKER = {"chain": ("anvil", "solc"), "kubo": ("ipfs",)}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose tool is missing; under `CI=true` fail it instead."""
    for marker, names in TOOLS_OF_MARKER.items():
        if item.get_closest_marker(marker) is None:
            continue
        for name in names:
            if paths.has_tool(name):
                continue
            reason = f"{name} is missing; `make {'kubo' if name == 'ipfs' else 'setup'}` provides it"
            if paths.is_required():
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
