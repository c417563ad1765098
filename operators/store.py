"""Keyed state in Flink below the key: a value of its own for each name.

Flink's keys are few here, so that batches are large: four shards, one challenger. A map state under
a key would be one value of the heap backend, which copies a value whole when it is first touched
after each checkpoint: a gigabyte for a million customers, while all decisions wait. So each has a
value of its own, customer or example, under its name as the namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor


class NamedValues:
    """Bytes by name, of the current key: a `ShardStore`, and what is `Unlabelled`.

    It speaks to Java's state itself: PyFlink knows namespaces in windows only, and would pickle the
    bytes once more.
    """

    def __init__(self, context: RuntimeContext, state: str) -> None:
        from pemja import findClass  # type: ignore[import-untyped]  # only inside of a task
        from pyflink.fn_execution.embedded.java_utils import to_java_state_descriptor

        strings = findClass("org.apache.flink.api.common.typeutils.base.StringSerializer")
        descriptor = ValueStateDescriptor(state, Types.PRIMITIVE_ARRAY(Types.BYTE()))
        backend: Any = context.get_keyed_state_backend()._keyed_state_backend
        values = backend.getOrCreateKeyedState(
            strings.INSTANCE, to_java_state_descriptor(descriptor)
        )
        self._go_to = values.setCurrentNamespace
        self._value = values.value
        self._update = values.update
        self._clear = values.clear

    def get(self, name: str) -> bytes | None:
        """The bytes of a name, None when there are none."""
        self._go_to(name)
        return self._value()  # type: ignore[no-any-return]

    def put(self, name: str, value: bytes) -> None:
        """Write a name."""
        self._go_to(name)
        self._update(value)

    def remove(self, name: str) -> None:
        """Forget a name."""
        self._go_to(name)
        self._clear()

    def put_all(self, dirty: Mapping[str, bytes | None]) -> None:
        """Write names; a value of None removes its name."""
        for name, value in dirty.items():
            if value is None:
                self.remove(name)
            else:
                self.put(name, value)
