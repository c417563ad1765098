"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.settings import Settings
from tests.servers import free_settings, running


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Redis and HBase, for tests that only read and write them."""
    settings = free_settings(tmp_path_factory.mktemp("stores"))
    with running(settings, "redis", "hbase", "thrift"):
        yield settings
