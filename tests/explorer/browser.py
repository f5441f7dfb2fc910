"""A headless Chromium, driven over its own protocol: what a page logs, what it asks for, how it looks."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

__all__ = ["Browser", "Tab", "find_browser", "open_browser"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


def find_browser() -> str | None:
    """Path of a Chromium on PATH."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def open_browser(path: str) -> Iterator[Browser]:
    """A browser with a profile of its own that ends with the block."""
    with tempfile.TemporaryDirectory(prefix="collegium-browser-", ignore_cleanup_errors=True) as profile:
        command = [
            path, "--headless=new", "--disable-gpu", "--no-first-run", "--no-default-browser-check",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
            "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0", f"--user-data-dir={profile}",
            # A user namespace is not to be had everywhere; root gets no sandbox at all.
            *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            browser = Browser(_endpoint(Path(profile), process))
            try:
                yield browser
            finally:
                browser.close()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _endpoint(profile: Path, process: subprocess.Popen[bytes]) -> str:
    give_up = time.monotonic() + 60
    file = profile / "DevToolsActivePort"
    while time.monotonic() < give_up:
        lines = file.read_text().split("\n") if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        if process.poll() is not None:
            raise RuntimeError(f"the browser ended with {process.returncode}")
        time.sleep(0.05)
    raise TimeoutError("the browser did not start")


class Browser:
    """One connection; tabs are sessions on it."""

    def __init__(self, endpoint: str) -> None:
        self._socket: ClientConnection = connect(endpoint, max_size=64 << 20, open_timeout=30, proxy=None)
        self._numbers = itertools.count(1)
        self._tabs: dict[str, Tab] = {}

    def close(self) -> None:
        self._socket.close()

    def open_tab(self, *, width: int = 1280, height: int = 900, dark: bool = False, scripts: bool = True) -> Tab:
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = self._tabs[session] = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        tab.call("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        tab.call("Emulation.setEmulatedMedia", {"features": [scheme, still]})
        if not scripts:
            tab.call("Emulation.setScriptExecutionDisabled", {"value": True})
        return tab

    def call(self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        while True:
            answer = self._receive(30)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def wait(self, done: Any, seconds: float = 30.0) -> None:
        give_up = time.monotonic() + seconds
        while not done():
            self._receive(give_up - time.monotonic())

    def _receive(self, seconds: float) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._socket.recv(timeout=max(seconds, 0.01)))
        tab = self._tabs.get(answer.get("sessionId", ""))
        if tab is not None and "method" in answer:
            tab.note(answer["method"], answer["params"])
        return answer


class Tab:
    """A page. complaints: everything the console got that is a warning or worse; outside: requests off loopback."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self._loaded = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []

    @property
    def outside(self) -> list[str]:
        own = ("data", "blob", "file", "about")
        return [
            url for url in self.requests
            if urlsplit(url).scheme not in own and urlsplit(url).hostname not in LOOPBACK
        ]  # fmt: skip

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._browser.call(method, parameters, self._session)

    def note(self, method: str, given: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded += 1
        elif method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("warning", "error", "assert"):
            self.complaints.append(" ".join(str(each.get("value", each)) for each in given["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(given["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("warning", "error"):
            self.complaints.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")

    def go(self, url: str) -> None:
        before = self._loaded
        failed = self.call("Page.navigate", {"url": url}).get("errorText")
        assert not failed, f"{url}: {failed}"
        self._browser.wait(lambda: self._loaded > before)

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression; promises are awaited. Not subject to the page's policy."""
        given = {"expression": expression, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        answer = self.call("Runtime.evaluate", given)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 20.0) -> Any:
        """The first truthy value of an expression."""
        give_up = time.monotonic() + seconds
        while not (found := self.evaluate(expression)):
            assert time.monotonic() < give_up, f"never true: {expression}"
            time.sleep(0.05)
        return found

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            )

    def screenshot(self, path: Path) -> None:
        """The whole page, however long."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
        shot = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))
