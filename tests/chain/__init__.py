"""Tests of the chain client."""
