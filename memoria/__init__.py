"""The Memoria associative memory network (torch; no Ray)."""
