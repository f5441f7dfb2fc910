"""Made-up B-mode ultrasound images with and without a lesion, the same bytes on every machine.

These are not patients. The images follow the textbook model of fully developed speckle (Burckhardt 1978, IEEE Trans.
Sonics Ultrason. 25, 1-6): scatterers with complex Gaussian reflectivity, blurred by a point-spread function that is
wider across the beam than along it, seen as the logarithm of the envelope, which is Rayleigh distributed. A lesion
scatters less or more than the tissue around it and changes what lies below it: fluid brightens it, hard tissue
shadows it. Everything is computed in 64-bit integers, so the checksum of all images is a constant.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["HOSPITALS", "MIXED", "SEED", "SHA256", "SIZE", "Examples", "Hospital", "checksum", "generate"]

SIZE = 40
"""Pixels along and across the beam; one is about half a millimeter."""
SEED = 0x5EED
SHA256 = "5b4c6f7222f66ca89e2ea7f1755a327d9b04852146507f30db14129d7bb8ec40"
"""Of all hospitals' images and labels and of the mixed ones, see `checksum`."""

Ints = NDArray[np.int64]
_UNIT = 256
"""Fixed-point one."""
# Scattering inside the lesion, and brightness below it, in 1/256: hypoechoic with shadow, hyperechoic, fluid with
# enhancement, nearly isoechoic with a strong shadow.
KINDS = ((90, 150), (620, 256), (40, 420), (200, 90))


@dataclass(frozen=True)
class Hospital:
    """Whom it sees and with which scanner. kinds: share of each kind of lesion, in 1/100."""

    images: int
    lesions: int
    """Of 100 images."""
    kinds: tuple[int, int, int, int]
    gain: int
    """Added to the gray values."""
    contrast: int
    """Gray values per octave of intensity."""


HOSPITALS = (
    Hospital(images=320, lesions=50, kinds=(85, 5, 5, 5), gain=0, contrast=16),
    Hospital(images=240, lesions=35, kinds=(5, 85, 5, 5), gain=18, contrast=14),
    Hospital(images=200, lesions=60, kinds=(5, 5, 85, 5), gain=-14, contrast=18),
    Hospital(images=120, lesions=50, kinds=(5, 5, 5, 85), gain=8, contrast=15),
)
MIXED = Hospital(images=240, lesions=50, kinds=(25, 25, 25, 25), gain=4, contrast=16)
"""Held out, the same for everybody: lesions of all kinds."""


@dataclass(frozen=True)
class Examples:
    """pixels uint8 [n, SIZE, SIZE], depth downwards; labels uint8 [n], 1 for a lesion."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def _random(stream: int, count: int) -> NDArray[np.uint64]:
    """`count` words of SplitMix64; streams are independent."""
    with np.errstate(over="ignore"):
        state = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(stream) * np.uint64(1 << 40)
        word = state * np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def _below(words: NDArray[np.uint64], limit: int) -> Ints:
    return ((words >> np.uint64(33)) % np.uint64(limit)).astype(np.int64)


def _normal(stream: int, count: int) -> Ints:
    """About normal with standard deviation 2^16: sums of twelve uniform 16-bit numbers."""
    words = _random(stream, 3 * count).reshape(3, count)
    total = np.zeros(count, dtype=np.int64)
    for shift in (0, 16, 32, 48):
        total += ((words >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64).sum(axis=0)
    return total - 12 * 32768 + 6


def _log2(values: Ints) -> Ints:
    """256 times the binary logarithm of positive numbers, exact to the last digit it shows."""
    found = np.zeros_like(values)
    rest = values.copy()
    for shift in (32, 16, 8, 4, 2, 1):
        is_large = rest >= (np.int64(1) << np.int64(shift))
        found += np.where(is_large, shift << 8, 0)
        rest = np.where(is_large, rest >> shift, rest)
    # The mantissa in [1, 2) as 30-bit fixed point: squaring yields one binary digit after the other.
    mantissa = np.where(found >= 30 << 8, values >> np.maximum((found >> 8) - 30, 0),
                        values << np.maximum(30 - (found >> 8), 0))  # fmt: skip
    for digit in (128, 64, 32, 16, 8, 4, 2, 1):
        mantissa = (mantissa * mantissa) >> 30
        is_large = mantissa >= 2 << 30
        found += np.where(is_large, digit, 0)
        mantissa = np.where(is_large, mantissa >> 1, mantissa)
    return found


def _blur(field: Ints, weights: tuple[int, ...], axis: int) -> Ints:
    width = field.shape[axis] - len(weights) + 1
    total = np.zeros((*field.shape[:axis], width, *field.shape[axis + 1 :]), dtype=np.int64)
    before = (slice(None),) * axis
    for at, weight in enumerate(weights):
        total += weight * field[(*before, slice(at, at + width))]
    return total


def generate(hospital: Hospital, stream: int) -> Examples:
    """The images of one hospital; the same arguments give the same bytes everywhere."""
    count = hospital.images
    draws = _random(stream * 8, 8 * count).reshape(8, count)
    labels = (_below(draws[0], 100) < hospital.lesions).astype(np.int64)
    kind = np.searchsorted(np.cumsum(hospital.kinds), _below(draws[1], 100), side="right")
    # Margins for the blur; the image itself starts at (2, 4).
    rows, columns = np.arange(SIZE + 4, dtype=np.int64), np.arange(SIZE + 8, dtype=np.int64)
    depth, across = 14 + _below(draws[2], 12), 14 + _below(draws[3], 20)
    tall, wide = 4 + _below(draws[4], 3), 5 + _below(draws[5], 4)
    dy = (rows[None, :] - depth[:, None]) * wide[:, None]
    dx = (columns[None, :] - across[:, None]) * tall[:, None]
    is_inside = dy[:, :, None] ** 2 + dx[:, None, :] ** 2 <= ((tall * wide) ** 2)[:, None, None]
    is_inside &= labels[:, None, None] == 1
    is_below = (rows[None, :, None] > depth[:, None, None]) & ~is_inside
    is_below &= (abs(columns[None, :] - across[:, None]) <= wide[:, None])[:, None, :] & (labels == 1)[:, None, None]
    table = np.array(KINDS, dtype=np.int64)
    echo = np.where(is_inside, table[kind, 0][:, None, None], _UNIT)
    echo = np.where(is_below, table[kind, 1][:, None, None], echo)
    # Layers of tissue that every image has, and what the beam loses with depth.
    layer = 180 + _below(draws[6], 150)
    is_layer = (rows[None, :] // (6 + _below(draws[7], 6))[:, None]) % 2 == 0
    echo = echo * np.where(is_layer, layer[:, None], _UNIT)[:, :, None] >> 8
    echo = echo * (_UNIT - 3 * rows)[None, :, None] >> 8
    power = np.zeros((count, SIZE, SIZE), dtype=np.int64)
    shape = (count, SIZE + 4, SIZE + 8)
    for part in (0, 1):
        field = _normal(stream * 8 + 1 + part, count * shape[1] * shape[2]).reshape(shape) * echo >> 8
        field = _blur(_blur(field, (1, 3, 4, 3, 1), 1), (1, 3, 6, 8, 9, 8, 6, 3, 1), 2) >> 8
        power += field * field
    gray = ((_log2(np.maximum(power, 1)) - (30 << 8)) * hospital.contrast >> 8) + 110 + hospital.gain
    return Examples(gray.clip(0, 255).astype(np.uint8), labels.astype(np.uint8))


def checksum() -> str:
    """sha256 of pixels and labels of all hospitals in order, then of the mixed images."""
    total = hashlib.sha256()
    for at, hospital in enumerate((*HOSPITALS, MIXED)):
        found = generate(hospital, SEED + at)
        total.update(found.pixels.tobytes() + found.labels.tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    print(checksum(), "as expected" if checksum() == SHA256 else f"but {SHA256} was expected")
