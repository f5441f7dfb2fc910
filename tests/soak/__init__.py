"""Tests of the soak: that it kills, restarts, and finds what grows."""
