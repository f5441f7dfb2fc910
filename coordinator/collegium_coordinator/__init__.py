"""The coordinator: collects signed messages, carries them in batches, proposes on duty, serves its store."""
