"""What a plan file says, and what it takes from the network it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from collegium.chain.profiles import profile
from collegium.errors import ConfigError
from collegium_client.plan import PlanFile


def load(folder: Path, text: str) -> PlanFile:
    path = folder / "plan.toml"
    path.write_text(text)
    return PlanFile.load(path)


class TestWindows:
    def test_a_profile_fills_in_what_is_not_said(self, tmp_path: Path) -> None:
        plan = load(tmp_path, '[chain]\nprofile = "sepolia"\n[rounds]\nreveal_window = 77\n')
        wanted = profile("sepolia").windows
        assert plan.tables["rounds"]["commit_window"] == wanted.commit_window
        assert plan.tables["rounds"]["evidence_period"] == wanted.evidence_period
        assert plan.tables["rounds"]["reveal_window"] == 77

    def test_without_one_defaults_hold(self, tmp_path: Path) -> None:
        assert load(tmp_path, "").tables["rounds"]["commit_window"] == 600

    def test_windows_too_short_for_a_network_are_told(self, tmp_path: Path) -> None:
        plan = load(tmp_path, "[rounds]\ncommit_window = 60\n")
        assert any("commit_window" in line for line in plan.hasty_windows(profile("sepolia")))
        assert not plan.hasty_windows(profile("devnet"))
        assert not load(tmp_path, '[chain]\nprofile = "mainnet"\n').hasty_windows(profile("mainnet"))

    @pytest.mark.parametrize(
        "text", ['[chain]\nprofile = "seplia"\n', "[chain]\nprofile = 1\n", "[rounds]\nwindow = 1\n"]
    )
    def test_mistakes(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, text)
        assert "seplia" not in text or "sepolia" in caught.value.hint
