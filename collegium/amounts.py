"""Amounts of the stake token: units of 10^-18 to numbers that people read, and back."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from collegium.errors import ConfigError

__all__ = ["TOKEN", "format_tokens", "parse_tokens"]

TOKEN = 10**18


def parse_tokens(value: Any) -> int:
    """Tokens as people write them ("12.5") to token units of 10^-18. Raises `ConfigError`."""
    try:
        amount = Decimal(str(value).replace("_", "")) * TOKEN
        # The contracts count in 128 bits; an exponent of millions would fill the memory.
        if not 0 <= amount < 1 << 128 or amount != amount.to_integral_value():
            raise InvalidOperation
        return int(amount)
    except (ArithmeticError, ValueError):
        # Also NaN, infinity, and more digits than a decimal holds exactly.
        raise ConfigError(f"{value!r} is no amount of tokens.", hint="Write a decimal number such as 12.5.") from None


def format_tokens(units: int) -> str:
    """Token units as a decimal number of tokens, exact."""
    sign, units = ("-", -units) if units < 0 else ("", units)
    whole, rest = divmod(units, TOKEN)
    return f"{sign}{whole}" + (f".{rest:018d}".rstrip("0") if rest else "")
