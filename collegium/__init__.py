"""What every role of a Collegium federation must compute alike: formats, hashes, arithmetic, verification."""

__version__ = "0.2.0"
