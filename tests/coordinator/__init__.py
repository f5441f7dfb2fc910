"""The coordinator on its own: what it takes, keeps, carries and proposes, against real contracts."""
