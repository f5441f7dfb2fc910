"""`python -m scripts.demo`: a whole federation on this machine, of real processes on a real chain."""
