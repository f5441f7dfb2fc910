"""Tests of Collegium."""
