"""Settings: which layer wins, where a value comes from, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from collegium.config import NETWORK, Layered
from collegium.errors import ConfigError

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

    def test_free_table_holds_anything(self, file: Path) -> None:
        assert load(file).table("data") == {"anything": 3}


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ('[network]\nrcp_url = "x"', "rpc_url"),
            ("[netwrk]\n", "network"),
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
