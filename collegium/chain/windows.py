"""How many blocks one question for logs may span: what a node accepts is learned from its refusals."""

from __future__ import annotations

import re
import threading

__all__ = ["LOG_WINDOW", "LogWindow", "is_range_error", "is_throttle_message"]

LOG_WINDOW = 2_000
GROW_AFTER = 16
"""Full windows in a row before a larger one is tried."""
FORGET_AFTER = 256
"""Full windows in a row before a refused size is tried again: dense stretches of a chain end."""

_RANGE = re.compile(
    r"(block|log|response|quer(y|ies)|results?|range|span)\w*\b.*"
    r"(range|limit|too (large|wide|big|many|long)|exceed|(more|greater) than|maximum|max\b|up to|time(d)? ?out)"
    r"|(range|limit|exceed|too (large|wide|big|many)|max(imum)?|up to)\b.*\b(block|log|range|response|result)",
    re.IGNORECASE | re.DOTALL,
)
_THROTTLED = re.compile(
    r"rate.?limit|too many requests|requests? (per|limit)|capacity|throughput|credits|quota|try again (later|in)",
    re.IGNORECASE,
)
_PROPOSED = re.compile(r"\[\s*(0x[0-9a-f]{1,15})\s*,\s*(0x[0-9a-f]{1,15})\s*\]", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])(\d{1,3}(?:[,_]\d{3})+|\d{1,9})(k)?\b", re.IGNORECASE)


def is_range_error(message: str) -> bool:
    """Whether a refusal says that a question for logs spans too much, in the words of any provider."""
    return bool(_RANGE.search(message)) and not is_throttle_message(message)


def is_throttle_message(message: str) -> bool:
    """Whether a refusal says that too much was asked in too short a time."""
    return bool(_THROTTLED.search(message))


class LogWindow:
    """Blocks per question at one node. Shrinks at a refusal, grows slowly towards `largest`. Thread-safe."""

    def __init__(self, largest: int = LOG_WINDOW) -> None:
        self.largest = max(1, largest)
        self.size = self.largest
        self._refused: int | None = None
        self._accepted = 0
        self._lock = threading.Lock()

    def shrink(self, asked: int, message: str = "") -> bool:
        """A question over `asked` blocks was refused; False when there is nothing smaller to try."""
        with self._lock:
            if asked <= 1:
                return False
            self._refused = asked if self._refused is None else min(self._refused, asked)
            self.size = max(1, min(self.size, _proposal(message, asked) or asked // 2))
            self._accepted = 0
            return True

    def accept(self, asked: int) -> None:
        """A question over `asked` blocks was answered."""
        with self._lock:
            if asked < self.size or self.size >= self.largest:
                return
            self._accepted += 1
            if self._refused is not None and self._accepted >= FORGET_AFTER:
                self._refused = None
            if self._accepted % GROW_AFTER:
                return
            if self._refused is None:
                self._grow_to(2 * self.size)
            elif self._refused - self.size > max(1, self.size // 8):
                self._grow_to((self.size + self._refused) // 2)

    def _grow_to(self, size: int) -> None:
        self.size = min(size, self.largest)
        self._accepted = 0


def _proposal(message: str, asked: int) -> int | None:
    """The span a refusal itself proposes, when it is smaller than what was asked."""
    if found := _PROPOSED.search(message):
        span = int(found[2], 16) - int(found[1], 16) + 1
        return span if 0 < span < asked else None
    numbers = [
        int(re.sub(r"[,_]", "", digits)) * (1000 if thousand else 1) for digits, thousand in _NUMBER.findall(message)
    ]
    # Nothing below a sixteenth: such a number is more likely a code or a count of something else.
    return max((number for number in numbers if asked // 16 < number < asked), default=None)
