"""Experience replay in one process: columns, samplers, writers. No Ray, no torch at import."""
