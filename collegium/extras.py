"""What is installed only on request: `pip install 'collegium[explorer]'`."""

from __future__ import annotations

import importlib.util

from collegium.errors import ExtraMissingError

__all__ = ["EXTRAS", "is_installed", "require"]

EXTRAS: dict[str, str] = {
    "data": "reading tables and images for a task",
    "deploy": "deploying the contracts through Ape",
    "explorer": "the web pages of `collegium explore`",
    "kubo": "stores behind an IPFS daemon",
    "onnx": "models as ONNX files",
    "otel": "traces for OpenTelemetry",
    "report": "charts",
}
"""What each extra is for."""


def is_installed(*modules: str) -> bool:
    """Whether all of these can be imported, without importing them."""
    return not _missing(modules)


def require(extra: str, *modules: str) -> None:
    """Raise ExtraMissingError, naming the command that helps, unless these modules of an extra are installed."""
    missing = _missing(modules)
    if missing:
        raise ExtraMissingError(
            f"This needs {EXTRAS[extra]}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed.",
            hint=f"pip install 'collegium[{extra}]'",
            extra=extra,
            missing=missing,
        )


def _missing(modules: tuple[str, ...]) -> list[str]:
    return [name for name in modules if not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        # The package above it is absent.
        return False
