"""No metric that nothing feeds, no alert on a metric that does not exist."""

from __future__ import annotations

import re

import pytest
import yaml

from collegium.observability.metrics import CATALOG
from scripts.setup.paths import ROOT

SOURCES = [
    path.read_text()
    for top in ("collegium", "client/collegium_client", "coordinator/collegium_coordinator")
    for path in (ROOT / top).rglob("*.py")
]
FEEDS = re.compile(r"""metrics\.(?:count|set_gauge|set_state|observe|timed)\(\s*"(\w+)"|set_gauge\("(build_info)\"""")


def test_every_metric_is_fed_and_every_fed_one_is_known() -> None:
    fed = {name or other for source in SOURCES for name, other in FEEDS.findall(source)}
    assert fed == set(CATALOG)


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_names_follow_the_conventions(name: str) -> None:
    metric = CATALOG[name]
    assert name.endswith("_total") == (metric.kind == "counter")
    assert metric.help.endswith(".")
    assert not set(metric.labels) & {"institution", "address", "name", "key", "study"}


def test_alerts_are_on_metrics_that_exist() -> None:
    rules = yaml.safe_load((ROOT / "packaging" / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        for name in re.findall(r"collegium_(\w+)", rule["expr"]):
            assert name in CATALOG, rule["alert"]
        assert rule["annotations"]["summary"].endswith((".", "disk."))


def test_the_page_lists_all_of_them() -> None:
    page = (ROOT / "docs" / "observability.md").read_text()
    assert {name for name in CATALOG if f"`{name}`" not in page} == set()
