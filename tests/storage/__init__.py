"""Tests of naming, keeping and fetching blobs."""
