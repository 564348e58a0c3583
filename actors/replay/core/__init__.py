"""The replay cluster as state machines: no Ray, no threads, clock and buffer are passed in."""
