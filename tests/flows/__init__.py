"""Whole rounds on real contracts: every course that DESIGN promises an end for."""
