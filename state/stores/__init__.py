"""Adapters to the stores that show the truth to others; the only I/O under `state`."""
