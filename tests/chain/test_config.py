"""Settings: which layer wins, where a value comes from, what is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from collegium.chain.profiles import PROFILES, profile, profile_of_chain
from collegium.config import NETWORK, Layered
from collegium.errors import ConfigError
from collegium.records import Plan

SCHEMA = {"network": NETWORK, "stores": {"push": []}, "training": {"device": "auto", "confined": False}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "collegium.toml"
    path.write_text('[network]\nrpc_url = "http://file"\nretry_for = 5\n[data]\nanything = 3\n')
    return path


def load(file: Path | None = None, **options: object) -> Layered:
    return Layered.load(SCHEMA, file, **{"environment": {}, "free": ("data",), **options})  # type: ignore[arg-type]


class TestLayers:
    def test_defaults_stand_where_nothing_is_given(self, tmp_path: Path) -> None:
        settings = load(tmp_path / "absent.toml")
        assert settings.get("network.chain_id") == 31337
        assert set(settings.origins.values()) == {"default"}

    def test_stronger_layer_wins_and_is_the_origin(self, file: Path) -> None:
        environment = {"COLLEGIUM_NETWORK_RPC_URL": "http://variable"}
        flags = {"network.rpc_url": "http://flag", "network.chain_id": None}
        for settings, value, origin in (
            (load(file), "http://file", str(file)),
            (load(file, environment=environment), "http://variable", "COLLEGIUM_NETWORK_RPC_URL"),
            (load(file, environment=environment, flags=flags), "http://flag", "flag"),
        ):
            assert settings.get("network.rpc_url") == value
            assert settings.origins["network.rpc_url"] == origin

    def test_values_become_the_type_of_their_default(self, file: Path) -> None:
        settings = load(file, environment={"COLLEGIUM_STORES_PUSH": "a, b", "COLLEGIUM_NETWORK_CHAIN_ID": "1"})
        assert settings.get("network.retry_for") == 5.0
        assert settings.get("stores.push") == ["a", "b"]
        assert settings.get("network.chain_id") == 1

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ('rpc_url = "http://one"', "http://one"),
            ('rpc_url = ["http://one", "http://two"]', "http://one, http://two"),
            ('rpc_url = "http://one,http://two"', "http://one,http://two"),
        ],
    )
    def test_chain_nodes_are_one_or_several(self, tmp_path: Path, text: str, value: str) -> None:
        (tmp_path / "collegium.toml").write_text(f"[network]\n{text}\n")
        assert load(tmp_path / "collegium.toml").get("network.rpc_url") == value

    def test_profile_fills_in_what_is_not_given(self, tmp_path: Path) -> None:
        (tmp_path / "collegium.toml").write_text('[network]\nprofile = "mainnet"\npoll_interval = 1\n')
        settings = load(tmp_path / "collegium.toml")
        assert settings.get("network.confirmations") == -1
        assert settings.origins["network.confirmations"] == "profile mainnet"
        assert (settings.get("network.poll_interval"), settings.get("network.chain_id")) == (1.0, 31337)

    @pytest.mark.parametrize("name", PROFILES)
    def test_every_profile_fits_the_settings_and_a_plan(self, name: str) -> None:
        found = profile(name)
        settings = load(environment={"COLLEGIUM_NETWORK_PROFILE": name})
        assert {key: settings.get(f"network.{key}") for key in found.settings()} == found.settings()
        windows = found.windows.to_plan()
        assert set(windows) <= {field.name for field in fields(Plan)}
        phases = [seconds for window, seconds in windows.items() if window != "evidence_period"]
        # Each phase must hold what it takes until its beginning is acted on, and as long for the work itself.
        assert min(phases) >= 2 * found.finality_seconds + 2 * found.poll_interval
        assert windows["evidence_period"] >= max(phases)
        assert all(profile_of_chain(chain) is found for chain in found.chain_ids)

    def test_unknown_profile_names_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match="mainnet"):
            load(environment={"COLLEGIUM_NETWORK_PROFILE": "mainet"})

    def test_free_table_holds_anything(self, file: Path) -> None:
        assert load(file).table("data") == {"anything": 3}


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ('[network]\nrcp_url = "x"', "rpc_url"),
            ("[netwrk]\n", "network"),
            ("[network]\nrpc_url = [1]", "str"),
            ("[network]\nchain_id = true", "int"),
            ("[training]\nconfined = 1", "bool"),
            ("network = 3", "[network]"),
            ("[network", "Mend"),
        ],
    )
    def test_bad_file_names_what_helps(self, tmp_path: Path, text: str, hint: str) -> None:
        path = tmp_path / "collegium.toml"
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert hint in str(caught.value)
        assert caught.value.exit_code == 2
