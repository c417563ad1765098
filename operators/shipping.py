"""Makes an operator run the code it was submitted with.

A thread-mode TaskManager keeps one Python interpreter for every job it will ever run, so a module
that an earlier job imported would serve a later one in spite of the new bundle. A `Shipped` object
is therefore taken apart where it is submitted, and put together on the worker by a function that
travels by value and first sees to it that our packages come from the object's own bundle.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any, Final

import cloudpickle  # type: ignore[import-untyped]

PACKAGES: Final = ("schemas", "state", "scoring", "operators", "jobs")
"""What a bundle holds, each package whole."""


class Shipped:
    """Base of an operator that travels with a bundle; its attributes must pickle."""

    bundle: str = ""
    """Name of the marker file at the bundle's root; empty for code that is where it was."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not self.bundle:
            return super().__reduce_ex__(protocol)
        # By value, whatever imports this module: the worker's copy of it may be the stale one.
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        contents = pickle.dumps((type(self).__module__, type(self).__name__, self.__dict__))
        return _arrive, (self.bundle, PACKAGES, contents)


def _arrive(bundle: str, packages: tuple[str, ...], contents: bytes) -> Any:
    """Put an object together on a worker, out of its bundle's code."""
    import importlib
    import pickle
    import sys
    from pathlib import Path

    root = next((place for place in sys.path if Path(place, bundle).is_file()), None)
    if root is None:
        raise ImportError(f"{bundle} is not among the worker's Python files: {sys.path}")
    ours = {
        name: module for name, module in sys.modules.items() if name.partition(".")[0] in packages
    }
    homes = {
        Path(module.__file__).parents[name.count(".") + (Path(module.__file__).stem == "__init__")]
        for name, module in ours.items()
        if module.__file__ is not None
    }
    if any(not Path(home, bundle).is_file() for home in homes):
        for name in ours:
            del sys.modules[name]
    sys.path.remove(root)
    sys.path.insert(0, root)
    importlib.invalidate_caches()

    module_name, class_name, attributes = pickle.loads(contents)
    kind = getattr(importlib.import_module(module_name), class_name)
    arrived = kind.__new__(kind)
    arrived.__dict__.update(attributes)
    return arrived
