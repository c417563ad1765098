"""Ways to run the same core between the same topics."""
