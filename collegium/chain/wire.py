"""What nodes answer: quantities, block headers, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from collegium.errors import CollegiumError

__all__ = ["Header", "RpcError", "to_error", "to_header", "to_int"]


class RpcError(CollegiumError):
    """The node answered with a JSON-RPC error. Evidence: rpc_code, data (revert bytes or None), method."""

    code = "rpc_error"
    exit_code = 5


@dataclass(frozen=True, slots=True)
class Header:
    """What the client needs of a block header. timestamp: unix seconds; base_fee: wei, None before London."""

    number: int
    hash: bytes
    parent: bytes
    timestamp: int
    base_fee: int | None


def to_int(value: str | int) -> int:
    """A JSON-RPC quantity."""
    return value if isinstance(value, int) else int(value, 16)


def to_header(block: dict[str, Any]) -> Header:
    fee = block.get("baseFeePerGas")
    return Header(
        number=to_int(block["number"]),
        hash=bytes.fromhex(block["hash"][2:]),
        parent=bytes.fromhex(block["parentHash"][2:]),
        timestamp=to_int(block["timestamp"]),
        base_fee=None if fee is None else to_int(fee),
    )


def to_error(method: str, error: Any) -> RpcError:
    """The error of an answer, whatever form it has."""
    if not isinstance(error, dict):
        error = {"message": str(error)}
    message = str(error.get("message", "no reason given"))
    return RpcError(
        f"{method}: {message}.",
        hint="The node refused the call; see its log if the reason is not clear.",
        rpc_code=error.get("code"),
        reason=message,
        data=_revert_data(error.get("data")),
        method=method,
    )


def _revert_data(data: Any) -> bytes | None:
    """Revert bytes, which nodes wrap in different ways."""
    if isinstance(data, dict):
        data = data.get("data") or data.get("result")
        if isinstance(data, dict):
            data = data.get("data")
    if isinstance(data, str):
        text = data[data.index("0x") :] if "0x" in data else ""
        try:
            return bytes.fromhex(text[2:]) if text else None
        except ValueError:
            return None
    return None
