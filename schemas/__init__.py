"""The nouns that cross a process boundary, how they are written on the wire, and what can go wrong.

Nothing here knows an engine, a store or a clock; the only dependency is msgspec.
"""
