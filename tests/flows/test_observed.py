"""A round as a monitoring system sees it: metrics over HTTP, spans at a collector, and no institution named."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from collegium import egress
from collegium.observability import metrics, tracing
from collegium.observability.serving import ObservabilitySettings, check_chain, check_disk, observed

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow]


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """An OTLP receiver on loopback: its address, and every span that came."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest()
            sent.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/traces"
            spans.extend(span for of in sent.resource_spans for scope in of.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", spans
    server.shutdown()
    server.server_close()


def samples(url: str) -> dict[str, float]:
    """By name and sorted labels."""
    text = requests.get(f"{url}/metrics", timeout=5).text
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def total(found: Mapping[str, float], start: str) -> float:
    return sum(value for name, value in found.items() if name.startswith(f"collegium_{start}"))


def test_a_round_in_numbers_and_spans(arena: Callable[..., Arena], collector: tuple[str, list[Any]]) -> None:
    endpoint, spans = collector
    world = arena(hospitals=3)
    home = world.hospitals[0]
    coordinator_home = world.coordinators[0]
    settings = ObservabilitySettings(metrics="127.0.0.1:0", otlp_endpoint=endpoint)
    log = egress.EgressLog(home / "state" / egress.FILE)
    with observed(settings, home=home, role="node", version="1.2.3", egress=log,
                  checks={"disk": check_disk(home / "state")}) as url:  # fmt: skip
        assert url is not None and url.startswith("http://127.0.0.1:")
        assert (home / "state" / "health" / "node.json").exists()
        world.start_coordinator(0)
        world.start_hospitals()
        world.wait_final(1)
        world.wait("every client to notice", lambda _: total(samples(url), "client_rounds_total") == 3)
        found = samples(url)
        assert requests.get(f"{url}/readyz", timeout=5).json()["ready"] is True
        world.assert_sound()
        world.close_roles()
    assert not (home / "state" / "health" / "node.json").exists()

    assert found["collegium_build_info{version=1.2.3}"] == 1
    assert found["collegium_client_rounds_total{outcome=aggregated}"] == 3
    assert found["collegium_client_round_current"] == found["collegium_aggregator_round_current"] == 1
    assert found["collegium_client_train_duration_seconds_count"] == 3
    assert found["collegium_client_upload_duration_seconds_count"] >= 3
    assert found["collegium_chain_head_block"] > 0 and found["collegium_indexer_lag_blocks"] == 0
    assert found["collegium_chain_head_age_seconds"] < 60
    assert found["collegium_aggregator_updates_received"] == 3
    for topic in ("updates", "reveals", "attestations", "endorsements"):
        assert found[f"collegium_aggregator_messages_total{{topic={topic}}}"] == 3
    for act in ("commitUpdates", "revealUpdates", "certify", "propose", "conclude"):
        assert found[f"collegium_tx_total{{kind={act},status=mined}}"] == 1
    assert total(found, "tx_gas_used_count") >= 5 and total(found, "tx_fee_wei_total") > 0
    assert found["collegium_rpc_requests_total{code=ok,method=eth_getLogs}"] > 0
    assert found["collegium_egress_records_total{kind=blob}"] >= 3
    addresses = [each.node.address[2:].lower() for each in world.federation.members]
    assert not [name for name in found if any(address in name.lower() for address in addresses)]

    check_spans(spans, addresses)
    # The collector is a host that something went to, so it is in the book.
    assert endpoint in [record["destination"] for record in egress.read(home / "state" / egress.FILE)]
    assert coordinator_home.exists()


def check_spans(spans: list[Any], addresses: list[str]) -> None:
    by_id = {span.span_id: span for span in spans}
    names = [span.name for span in spans]
    assert names.count("round") == names.count("train") == names.count("encode") == names.count("store") - 1 == 3
    for span in spans:
        if span.name in ("train", "encode", "recompute", "hand updates", "push"):
            assert by_id[span.parent_span_id].name == "round", span.name
        if span.name in ("fetch", "aggregate"):
            assert by_id[span.parent_span_id].name == "propose"
        assert not any(address in str(span).lower() for address in addresses)
    (told,) = {tuple(sorted((each.key, each.value.int_value) for each in span.attributes if each.value.int_value))
               for span in spans if span.name == "round"}  # fmt: skip
    assert [key for key, _ in told] == ["collegium.round", "collegium.study"]


def test_nothing_is_imported_or_opened_unless_asked_for(tmp_path: Path) -> None:
    with observed(ObservabilitySettings(), home=tmp_path, role="node", version="1", checks={}) as url:
        assert url is None
    assert not list(tmp_path.iterdir())
    assert not metrics.is_enabled() and tracing._tracer is None
    assert metrics.render()[1].startswith(b"#")


def test_readiness_follows_the_chain() -> None:
    class Follower:
        head, head_time, read_at = -1, 0, 0.0

    follower, now = Follower(), time.time()
    look = check_chain(follower, chain_id=1, max_head_age=600)
    assert "not read yet" in look()["problem"]
    follower.head, follower.head_time, follower.read_at = 5, int(now), now
    assert "problem" not in look()
    follower.head_time = int(now) - 700
    assert " s old" in look()["problem"]
    # A devnet mines only when somebody sends.
    assert "problem" not in check_chain(follower, chain_id=31337, max_head_age=600)()
    follower.read_at = now - 120
    assert "not answered" in check_chain(follower, chain_id=31337, max_head_age=600)()["problem"]
