"""What `benchmarks.prove_learning` tries, one promise a module; all of it in the core."""
