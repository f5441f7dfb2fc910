"""health, and the metrics of a running command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command, neutralize
from collegium.errors import CoordinatorUnreachableError, PreconditionError

if TYPE_CHECKING:
    from collegium_client.home import Home

__all__ = ["METRICS", "health", "show_vitals"]

METRICS = click.option("--metrics", help="host:port of /metrics, /healthz and /readyz; off by default.")
TIMEOUT = 5.0


@contextmanager
def show_vitals(app: App, home: Home, role: str, follower: Any, metrics: str | None) -> Iterator[None]:
    """Metrics, health and traces while a command runs, as the option or the settings ask for them."""
    from collegium import __version__
    from collegium.observability.serving import ObservabilitySettings, check_chain, check_disk, observed

    table = home.settings.tables()["observability"]
    settings = ObservabilitySettings(**{**table, "metrics": metrics if metrics is not None else table["metrics"]})
    checks = {
        "chain": check_chain(
            follower, chain_id=home.settings.get("network", "chain_id"), max_head_age=settings.max_head_age
        ),
        "disk": check_disk(home.state),
    }
    with observed(settings, home=home.folder, role=role, version=__version__, checks=checks, egress=home.egress) as url:
        if url:
            app.say(f"metrics and health at {url}")
        yield


@command()
@click.option("--url", "urls", multiple=True, help="Ask this endpoint; default: what runs on this home.")
def health(app: App, urls: tuple[str, ...]) -> Shown:
    """Ask what runs on this home whether it is ready; exit 3 when not, 5 when it does not answer."""
    from collegium.observability.serving import HEALTH_FOLDER

    found = list(urls) or _find(app.home / "state" / HEALTH_FOLDER)
    if not found:
        raise PreconditionError(
            f"Nothing with a health endpoint runs on {app.home}.",
            hint="Start it with --metrics 127.0.0.1:9464, or set observability.metrics in collegium.toml.",
        )
    answers = [_ask(url) for url in found]
    problems = [
        f"{answer['role']}: {name}: {facts['problem']}"
        for answer in answers
        for name, facts in answer.get("checks", {}).items()
        if "problem" in facts
    ]
    error = None
    if not all(answer.get("ready") for answer in answers):
        error = PreconditionError(
            "Not ready. " + neutralize("; ".join(problems)) + ".", hint="See the log of that role; it keeps trying."
        )
    lines = [f"{answer['role']}: {'ready' if answer.get('ready') else 'NOT READY'} ({answer['url']})"
             for answer in answers]  # fmt: skip
    return Shown({"endpoints": answers}, [neutralize(line) for line in lines], error=error)


def _find(folder: Path) -> list[str]:
    urls = []
    for path in sorted(folder.glob("*.json")):
        try:
            urls.append(str(json.loads(path.read_text(encoding="utf-8"))["url"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return urls


def _ask(url: str) -> dict[str, Any]:
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{url.rstrip('/')}/readyz", timeout=TIMEOUT, allow_redirects=False)
        content = answer.json()
        if not isinstance(content, dict) or "ready" not in content:
            raise ValueError("no answer of ours")
        return {"role": "unknown", **content, "url": url}
    except (requests.RequestException, ValueError) as error:
        raise CoordinatorUnreachableError(
            f"{url} does not answer as it should ({type(error).__name__}).",
            hint="It may have been killed: start it again, or pass --url.",
        ) from error
