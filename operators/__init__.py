"""How Flink runs the core: thin shells, one verb each, over an engine-free batch loop."""
