"""Replay as audit: recorded inputs through the stream's own core, under what was in force then.

`pins` finds what was in force at a decision, `rerun` decides again and compares, `recorded` reads
what Kafka and the archive have, and `command` is ``beckon replay --topic``.
"""
