"""The archive: what the stream saw, decided and learned, as Parquet files by table and day.

`tables` says what is kept of each record, `write` how a batch gets there whole or not at all,
`read` hands it out day by day, each record once, and `erase` takes customers out.
"""
