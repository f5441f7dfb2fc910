"""Load and time: federations that run for many rounds while their processes are killed at random."""
