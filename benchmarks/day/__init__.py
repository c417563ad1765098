"""A simulated day, for `benchmarks.prove_decisions`: its rules, its events, and who judges it."""
