"""``beckon replay``: events from CSV, JSONL or Parquet files, published as if they happened.

Rows keep their order and go out keyed by customer, as fast as possible or at a multiple of the
pace at which they happened. A row without an id of its own takes one from its file's name and its
number, so that a second replay is all duplicates. A row that makes no event is counted by reason.

command  the options, and which way they lead
files    rows out of files
publish  rows onto Kafka; `jobs.audit` is the other way, which publishes nothing
"""
