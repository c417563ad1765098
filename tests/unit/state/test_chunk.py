"""A chunk's bytes are those of the list that was appended to it."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from state.chunk import Chunk

entries = st.lists(st.tuples(st.integers(0, 1 << 62), st.text(max_size=40)), max_size=80)


@given(entries, entries)
def test_what_is_appended_encodes_as_the_list_of_it(
    first: list[object], then: list[object]
) -> None:
    chunk = Chunk(first)
    for entry in then:
        chunk.append(entry)
        chunk.encode()
    whole = [*first, *then]
    assert chunk.count == len(whole)
    assert chunk.encode() == msgspec.msgpack.encode(whole)
