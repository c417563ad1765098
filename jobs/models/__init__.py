"""Models from the night to the stream: artefacts, the gate, the registry, the staged swap."""
