"""What the night works out of tables: pure functions, one file a subject, no I/O and no clock.

The steps of `jobs.nightly` read the archive, call these and write what comes out.
"""
