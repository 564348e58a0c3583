"""Scripts that tests submit to clusters."""
