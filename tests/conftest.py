"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from benchmarks.control import shipped
from benchmarks.live import TAOBAO, Live, live, shop_events
from benchmarks.servers import free_settings, running
from jobs.settings import Settings
from tests.shop import SHOP_EVENTS, Shop, on_share, visit

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile(
    "beckon", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("beckon")


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Redis and HBase, for tests that only read and write them."""
    settings = free_settings(tmp_path_factory.mktemp("stores"))
    with running(settings, "redis", "hbase", "thrift"):
        yield settings


@pytest.fixture(scope="session")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The whole product on real servers, with the shipped campaigns and one more."""
    settings = free_settings(
        tmp_path_factory.mktemp("stream"),
        checkpoint_interval_ms=1_000,
        task_manager_memory_mb=2_048,
    )
    with live(settings, [*shipped(), on_share()]) as found:
        yield found


@pytest.fixture(scope="session")
def shop(stream: Live) -> Shop:
    """Real events that the stream has taken in, with a ``kill -9`` of the TaskManager between."""
    if not TAOBAO.is_file():
        pytest.skip(f"there is no {TAOBAO}")
    return visit(stream, shop_events(stream.settings, TAOBAO, limit=SHOP_EVENTS))
