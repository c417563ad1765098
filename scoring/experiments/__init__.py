"""Experiments: who gets what, whether the groups are what they should be, and what it brought.

`assignment` gives every customer a variant by hash, `ratio` checks the groups' sizes, `sums` keeps
what a group did, `lift` compares two groups at any time, `readout` does so for every metric and
segment, and `gap` holds what a campaign reached against what it should have.
"""
