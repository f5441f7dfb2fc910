"""Scripts that set up, deploy and demonstrate Collegium."""
