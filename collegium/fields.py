"""Typed fields of records: every field knows its ABI type, and a value that does not fit is refused."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints

from eth_hash.auto import keccak

from collegium.errors import RecordError

Uint8 = Annotated[int, "uint8"]
Uint16 = Annotated[int, "uint16"]
Uint32 = Annotated[int, "uint32"]
Uint40 = Annotated[int, "uint40"]
Uint64 = Annotated[int, "uint64"]
Uint128 = Annotated[int, "uint128"]
Bytes32 = Annotated[bytes, "bytes32"]
Address = Annotated[str, "address"]
Bool = Annotated[bool, "bool"]
Text = Annotated[str, "string"]


def checksum_address(address: str | bytes) -> str:
    """EIP-55 form of 20 bytes or of a hex string in any case. Raises ``RecordError`` when it is no address."""
    if isinstance(address, str):
        text = address[2:] if address[:2] in ("0x", "0X") else address
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
    else:
        # A number would make as many zeros: 20 would be an address, and a large one fill the memory.
        raw = bytes(address) if isinstance(address, (bytes, bytearray, memoryview)) else b""
    if len(raw) != 20:
        raise RecordError(f"Not an address: {repr(address)[:100]}.", hint="An address is 0x and 40 hex digits.")
    return _checksum(raw)


@functools.lru_cache(maxsize=4096)
def _checksum(raw: bytes) -> str:
    lower = raw.hex()
    digest = keccak(lower.encode()).hex()
    return "0x" + "".join(c.upper() if int(d, 16) >= 8 else c for c, d in zip(lower, digest, strict=False))


def camel_case(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _coerce(owner: str, name: str, kind: str, value: Any) -> Any:
    where = f"{owner}.{name}"
    if kind.startswith("uint"):
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise RecordError(f"{where} must be an integer, not {value!r}.")
        number = int(value.__index__())
        if not 0 <= number < 1 << int(kind[4:]):
            raise RecordError(f"{where} = {number} does not fit {kind}.", field=where, value=number)
        return number
    if kind == "bytes32":
        if isinstance(value, str):
            try:
                value = bytes.fromhex(value.removeprefix("0x"))
            except ValueError:
                value = b""
        if not isinstance(value, (bytes, bytearray, memoryview)) or len(value) != 32:
            raise RecordError(f"{where} must be 32 bytes.", field=where)
        return bytes(value)
    if kind == "address":
        return checksum_address(value)
    if kind == "bool":
        if value not in (True, False):
            raise RecordError(f"{where} must be a bool, not {value!r}.", field=where)
        return bool(value)
    if not isinstance(value, str):
        raise RecordError(f"{where} must be text.", field=where)
    return value


def abi_word(kind: str, value: Any) -> bytes:
    if kind == "bytes32":
        return bytes(value)
    if kind == "address":
        return bytes(12) + bytes.fromhex(value[2:])
    return int(value).to_bytes(32, "big")


class Record:
    """Base of all records: typed fields, ABI tuples both ways."""

    @classmethod
    @functools.cache
    def field_types(cls) -> dict[str, Any]:
        """Field name to ABI type name, record class, or a one-element list of either for a dynamic array."""
        hints = get_type_hints(cls, include_extras=True)
        result: dict[str, Any] = {}
        for field in fields(cls):  # type: ignore[arg-type]
            hint = hints[field.name]
            if get_origin(hint) is Annotated:
                result[field.name] = get_args(hint)[1]
            elif get_origin(hint) is tuple:
                inner = get_args(hint)[0]
                result[field.name] = [get_args(inner)[1] if get_origin(inner) is Annotated else inner]
            else:
                result[field.name] = hint
        return result

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name, kind in self.field_types().items():
            value = getattr(self, name)
            if isinstance(kind, str):
                value = _coerce(owner, name, kind, value)
            elif isinstance(kind, list):
                inner = kind[0]
                value = tuple(_coerce(owner, name, inner, v) if isinstance(inner, str) else v for v in value)
            object.__setattr__(self, name, value)

    def to_abi(self) -> tuple[Any, ...]:
        """The tuple web3 and eth_abi want, nested records included."""
        values: list[Any] = []
        for name, kind in self.field_types().items():
            value = getattr(self, name)
            if isinstance(kind, list):
                values.append([v if isinstance(kind[0], str) else v.to_abi() for v in value])
            else:
                values.append(value if isinstance(kind, str) else value.to_abi())
        return tuple(values)

    @classmethod
    def from_abi(cls, value: Any) -> Self:
        """From a tuple in field order, or a mapping with the contract's camelCase names."""
        types = cls.field_types()
        if isinstance(value, Mapping):
            try:
                items = [value[camel_case(name)] for name in types]
            except KeyError as missing:
                raise RecordError(f"{cls.__name__} lacks {missing}.") from None
        else:
            items = list(value)
        if len(items) != len(types):
            raise RecordError(f"{cls.__name__} has {len(types)} fields, not {len(items)}.")
        built: dict[str, Any] = {}
        for (name, kind), item in zip(types.items(), items, strict=True):
            if isinstance(kind, list):
                inner = kind[0]
                built[name] = tuple(v if isinstance(inner, str) else inner.from_abi(v) for v in item)
            else:
                built[name] = item if isinstance(kind, str) else kind.from_abi(item)
        return cls(**built)

    @classmethod
    def abi_type(cls) -> str:
        """The ABI tuple type, as eth_abi writes it."""
        parts = []
        for kind in cls.field_types().values():
            inner = kind[0] if isinstance(kind, list) else kind
            text = inner if isinstance(inner, str) else inner.abi_type()
            parts.append(text + "[]" if isinstance(kind, list) else text)
        return "(" + ",".join(parts) + ")"

    def words(self) -> bytes:
        """``abi.encode`` of a record whose fields are all static: one 32-byte word per field."""
        return b"".join(abi_word(kind, getattr(self, name)) for name, kind in self.field_types().items())
