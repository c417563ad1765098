"""The rows of CSV, JSONL and Parquet files, packed or not, as the values that a mapping names."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec

from jobs.mapping import Format, Mapping, Unmappable
from schemas.errors import UserMistake

_SUFFIXES: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def read_rows(path: Path, mapping: Mapping) -> Iterator[Sequence[Any] | Unmappable]:
    """The rows of a file as values in the order of ``mapping.sources``; broken ones as errors."""
    form = mapping.file.format or _format(path)
    try:
        with path.open("rb") as raw:
            if form == "parquet":
                yield from _parquet(raw, path, mapping)
            else:
                packed = path.suffix == ".gz"
                data = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
                yield from (_csv if form == "csv" else _jsonl)(data, path, mapping)
    except (OSError, EOFError) as error:
        raise UserMistake(f"{path} cannot be read to its end: {error}") from None


def _csv(data: IO[bytes], path: Path, mapping: Mapping) -> Iterator[Sequence[Any] | Unmappable]:
    file = mapping.file
    text = TextIOWrapper(data, "utf-8-sig", "surrogateescape", newline="")
    try:
        table = csv.reader(text, delimiter=file.delimiter)
        columns = next(table, []) if file.header else list(file.columns)
        places = _places(columns, path, mapping)
        while True:
            try:
                for row in table:
                    if len(row) == len(columns):
                        yield [row[place] for place in places]
                    elif row:
                        yield Unmappable("a row has not as many columns as the header", str(row))
                return
            except csv.Error as error:
                yield Unmappable("a row is no CSV", str(error))
    finally:
        text.detach()


def _jsonl(data: IO[bytes], _: Path, mapping: Mapping) -> Iterator[Sequence[Any] | Unmappable]:
    paths = [tuple(source.split(".")) for source in mapping.sources]
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for line in data:
        if not line.strip():
            continue
        try:
            record = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield Unmappable("a row is no JSON object", str(error))
            continue
        yield [
            record[source] if source in record else _dig(record, steps)
            for source, steps in zip(mapping.sources, paths, strict=True)
        ]


def _parquet(data: IO[bytes], path: Path, mapping: Mapping) -> Iterator[Sequence[Any] | Unmappable]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(data)
        _places(file.schema_arrow.names, path, mapping)
        for batch in file.iter_batches(batch_size=8_192, columns=mapping.sources):
            columns = [batch.column(source).to_pylist() for source in mapping.sources]
            yield from zip(*columns, strict=True)
    except pyarrow.ArrowException as error:
        raise UserMistake(f"{path} is no Parquet file that can be read: {error}") from None


def _places(columns: Sequence[str], path: Path, mapping: Mapping) -> list[int]:
    missing = [source for source in mapping.sources if source not in columns]
    if missing:
        raise UserMistake(
            f"{path} has no column {missing[0]!r}, which the mapping names; "
            f"it has: {', '.join(columns) or 'none'}"
        )
    return [list(columns).index(source) for source in mapping.sources]


def _dig(record: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        if not isinstance(record, dict):
            return None
        record = record.get(step)
    return record


def _format(path: Path) -> Format:
    name = path.name.removesuffix(".gz")
    form = _SUFFIXES.get(Path(name).suffix)
    if form is None:
        known = ", ".join(_SUFFIXES)
        raise UserMistake(f"{path}: neither of {known}; say `format:` in the mapping")
    return form


def id_prefix(path: Path) -> str:
    """The same for a file wherever it lies, packed or not."""
    return hashlib.sha256(path.name.removesuffix(".gz").encode()).hexdigest()[:16]
