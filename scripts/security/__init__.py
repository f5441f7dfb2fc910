"""What is checked of the contracts besides their tests: static analysis, branch coverage, the table of attacks."""
