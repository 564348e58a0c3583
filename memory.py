"""Caching, host information, replay buffers and a dashboard under one short name."""
