"""The packaged ABIs: calls to bytes, logs and reverts to names and values.

Decoded structs are dicts with the contract's field names, which records read with `from_abi`; bytes are `bytes`,
addresses checksummed. `to_jsonable` turns both into what JSON holds.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from eth_hash.auto import keccak

from collegium.errors import AbiError, ConfigError
from collegium.records import checksum_address

__all__ = ["Event", "Function", "Interface", "RevertReason", "decode_revert", "interface", "to_jsonable"]

_PANIC = bytes.fromhex("4e487b71")
_ERROR = bytes.fromhex("08c379a0")
_PANICS = {
    0x01: "an assertion failed",
    0x11: "arithmetic overflowed",
    0x12: "division by zero",
    0x21: "a value is no member of its enum",
    0x32: "an index is out of range",
    0x41: "too much memory was asked for",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One input or output. type: canonical ABI type, tuples written out."""

    name: str
    type: str
    indexed: bool
    components: tuple[Parameter, ...]

    @property
    def is_dynamic(self) -> bool:
        """Whether an indexed parameter of this type leaves only a hash in its topic."""
        return self.type in ("string", "bytes") or self.type.endswith("]") or self.type.startswith("(")


@dataclass(frozen=True, slots=True)
class Function:
    contract: str
    name: str
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]
    selector: bytes

    def encode(self, arguments: Sequence[Any]) -> bytes:
        """Calldata. Raises TypeError on a wrong number of arguments, eth_abi's errors on wrong types."""
        if len(arguments) != len(self.inputs):
            raise TypeError(f"{self.contract}.{self.name} takes {len(self.inputs)} arguments, not {len(arguments)}")
        return self.selector + _encode(self.inputs, arguments)

    def decode_input(self, calldata: bytes) -> dict[str, Any]:
        """Arguments by name. Raises AbiError."""
        return _decode(self.inputs, calldata[4:])

    def describe_input(self, calldata: bytes) -> dict[str, Any]:
        """As `decode_input`, but structs are dicts by field, for people to read. Raises AbiError."""
        values = self.decode_input(calldata)
        return {each.name: _named(each, values[each.name]) for each in self.inputs}

    def decode_output(self, data: bytes) -> Any:
        """The value, or a dict by name when there are several."""
        values = _decode(self.outputs, data)
        return next(iter(values.values())) if len(self.outputs) == 1 else values


@dataclass(frozen=True, slots=True)
class Event:
    contract: str
    name: str
    inputs: tuple[Parameter, ...]
    topic: bytes

    def decode(self, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
        """Arguments by name; an indexed dynamic one as its 32-byte hash. Raises AbiError."""
        plain = _decode(tuple(each for each in self.inputs if not each.indexed), data)
        if len(topics) - 1 != sum(each.indexed for each in self.inputs):
            raise AbiError(f"A log of {self.name} has {len(topics)} topics.", hint="It is no log of this contract.")
        indexed = iter(topics[1:])
        values: dict[str, Any] = {}
        for each in self.inputs:
            if not each.indexed:
                values[each.name] = plain[each.name]
            elif each.is_dynamic:
                values[each.name] = next(indexed)
            else:
                values[each.name] = _shape(each, _decode_values([each.type], next(indexed))[0])
        return values


@dataclass(frozen=True, slots=True)
class ErrorType:
    contract: str
    name: str
    inputs: tuple[Parameter, ...]
    selector: bytes


@dataclass(frozen=True, slots=True)
class RevertReason:
    """name: of the custom error, `Error`, `Panic`, or empty when the revert says nothing we know."""

    name: str
    fields: Mapping[str, Any]


class Interface:
    """What one contract understands and emits."""

    def __init__(self, name: str, entries: Sequence[Mapping[str, Any]]) -> None:
        self.name = name
        self.functions: dict[str, Function] = {}
        self.events: dict[str, Event] = {}
        self.errors: dict[str, ErrorType] = {}
        for entry in entries:
            inputs = _parameters(entry.get("inputs", ()))
            signature = f"{entry.get('name', '')}({','.join(each.type for each in inputs)})"
            selector = bytes(keccak(signature.encode()))
            if entry["type"] == "function":
                outputs = _parameters(entry.get("outputs", ()))
                self.functions[entry["name"]] = Function(name, entry["name"], inputs, outputs, selector[:4])
            elif entry["type"] == "event":
                self.events[entry["name"]] = Event(name, entry["name"], inputs, selector)
            elif entry["type"] == "error":
                self.errors[entry["name"]] = ErrorType(name, entry["name"], inputs, selector[:4])
        self.by_selector = {each.selector: each for each in self.functions.values()}
        self.by_topic = {each.topic: each for each in self.events.values()}

    def function(self, name: str) -> Function:
        try:
            return self.functions[name]
        except KeyError:
            raise ConfigError(f"{self.name} has no function {name}.", hint="Run scripts.export_abi.") from None


@functools.cache
def interface(contract: str) -> Interface:
    """The packaged ABI of a contract. Raises ConfigError when there is none."""
    file = resources.files("collegium") / "abi" / f"{contract}.json"
    if not file.is_file():
        raise ConfigError(f"No ABI of {contract} is packaged.", hint="Run `python -m scripts.export_abi`.")
    return Interface(contract, json.loads(file.read_text(encoding="utf-8")))


@functools.cache
def _errors() -> dict[bytes, ErrorType]:
    from .deployment import CONTRACTS

    return {each.selector: each for name in CONTRACTS for each in interface(name).errors.values()}


def decode_revert(data: bytes | None) -> RevertReason:
    """Name and fields of a custom error of any of our contracts, of `Error(string)` or of `Panic(uint256)`."""
    if not data or len(data) < 4:
        return RevertReason("", {})
    selector, rest = data[:4], data[4:]
    try:
        if selector == _ERROR:
            return RevertReason("Error", {"reason": _decode_values(["string"], rest)[0]})
        if selector == _PANIC:
            number = _decode_values(["uint256"], rest)[0]
            return RevertReason("Panic", {"number": number, "reason": _PANICS.get(number, "unknown")})
        known = _errors().get(selector)
        if known is not None:
            return RevertReason(known.name, _decode(known.inputs, rest))
    except AbiError:
        # A node may cut it short or invent it.
        pass
    return RevertReason("", {"data": data})


def _named(parameter: Parameter, value: Any) -> Any:
    if not parameter.components:
        return value
    if parameter.type.endswith("]"):
        one = replace(parameter, type=parameter.type[: parameter.type.rindex("[")])
        return [_named(one, each) for each in value]
    if isinstance(value, Mapping):
        return value
    return {each.name: _named(each, item) for each, item in zip(parameter.components, value, strict=True)}


def to_jsonable(value: Any) -> Any:
    """Bytes as 0x hex, tuples as lists; ints stay ints."""
    if isinstance(value, (bytes, bytearray)):
        return "0x" + bytes(value).hex()
    if isinstance(value, Mapping):
        return {key: to_jsonable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(each) for each in value]
    return value


def _parameters(entries: Sequence[Mapping[str, Any]]) -> tuple[Parameter, ...]:
    return tuple(_parameter(entry, position) for position, entry in enumerate(entries))


def _parameter(entry: Mapping[str, Any], position: int) -> Parameter:
    components = _parameters(entry.get("components", ()))
    kind = str(entry["type"])
    if kind.startswith("tuple"):
        kind = "(" + ",".join(each.type for each in components) + ")" + kind[len("tuple") :]
    return Parameter(entry.get("name") or str(position), kind, bool(entry.get("indexed")), components)


def _encode(parameters: tuple[Parameter, ...], values: Sequence[Any]) -> bytes:
    from eth_abi.abi import encode

    return encode([each.type for each in parameters], [_plain(value) for value in values])


def _plain(value: Any) -> Any:
    """A record becomes the tuple eth_abi wants."""
    if hasattr(value, "to_abi"):
        return value.to_abi()
    if isinstance(value, (list, tuple)):
        return tuple(_plain(each) for each in value)
    return value


def _decode(parameters: tuple[Parameter, ...], data: bytes) -> dict[str, Any]:
    values = _decode_values([each.type for each in parameters], data)
    return {each.name: _shape(each, value) for each, value in zip(parameters, values, strict=True)}


@functools.cache
def _codec() -> Any:
    """eth_abi's, but for text that is no UTF-8: a contract does not look at it, so it may be in any event.

    Such bytes become `\\xff`; refusing them would let one name that a council admitted stop every index for ever.
    """
    from eth_abi import codec, decoding, encoding, registry

    # Not typed by its authors.
    untyped: Any = registry
    lenient = untyped.registry.copy()
    lenient.unregister("string")
    text: Any = decoding.StringDecoder
    lenient.register(
        untyped.BaseEquals("string", with_sub=False),
        encoding.TextStringEncoder,
        text(handle_string_errors="backslashreplace"),
        label="string",
    )
    return codec.ABICodec(lenient)


def _decode_values(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Raises AbiError: nodes and callers send what they like."""
    from eth_abi.exceptions import DecodingError

    try:
        return tuple(_codec().decode(types, data))
    except (DecodingError, ValueError, OverflowError, MemoryError) as error:
        raise AbiError(
            f"{len(data)} bytes are no ABI encoding of ({','.join(types)}): {error}.",
            hint="Whoever sent them speaks another version of the contracts, or lies.",
        ) from error


def _shape(parameter: Parameter, value: Any) -> Any:
    """Checksum addresses and name the fields of structs, also inside arrays."""
    if parameter.type.endswith("]"):
        element = Parameter("", parameter.type[: parameter.type.rindex("[")], False, parameter.components)
        return [_shape(element, each) for each in value]
    if parameter.components:
        return {each.name: _shape(each, item) for each, item in zip(parameter.components, value, strict=True)}
    return checksum_address(value) if parameter.type == "address" else value
