"""A shard's keyed state in Flink: a value of its own for each customer.

Flink's key is the shard, of which there are few, so that batches are large. A map state under it
would be one value of the heap backend, which copies a value whole when it is first touched after
each checkpoint: a gigabyte for a million customers, while all decisions wait. So each customer has
a value, under the shard as the key and the customer as the namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor


class CustomerStore:
    """A `ShardStore` over Flink's keyed state of the current key.

    It speaks to Java's state itself: PyFlink knows namespaces in windows only, and would pickle the
    bytes once more.
    """

    def __init__(self, context: RuntimeContext, name: str) -> None:
        from pemja import findClass  # type: ignore[import-untyped]  # only inside of a task
        from pyflink.fn_execution.embedded.java_utils import to_java_state_descriptor

        strings = findClass("org.apache.flink.api.common.typeutils.base.StringSerializer")
        descriptor = ValueStateDescriptor(name, Types.PRIMITIVE_ARRAY(Types.BYTE()))
        backend: Any = context.get_keyed_state_backend()._keyed_state_backend
        state = backend.getOrCreateKeyedState(
            strings.INSTANCE, to_java_state_descriptor(descriptor)
        )
        self._go_to = state.setCurrentNamespace
        self._value = state.value
        self._update = state.update
        self._clear = state.clear

    def get(self, key: str) -> bytes | None:
        """The bytes of a key, None when there are none."""
        self._go_to(key)
        return self._value()  # type: ignore[no-any-return]

    def put_all(self, dirty: Mapping[str, bytes | None]) -> None:
        """Write keys; a value of None removes its key."""
        go_to, update = self._go_to, self._update
        for key, value in dirty.items():
            go_to(key)
            if value is None:
                self._clear()
            else:
                update(value)
