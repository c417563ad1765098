"""What Prometheus reads of our services, and where they show it."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from benchmarks.servers import free_port
from jobs.archive.archiver import Archiver
from jobs.archive.write import Archive
from jobs.effects.process import Effects
from jobs.metrics import METRICS, Sample, document, exposed, exposition, markdown
from jobs.projector import Projection
from jobs.settings import Settings
from schemas.errors import UserMistake
from state.stores.memory import MemoryView
from tests.processes import figures
from tests.published import message, shadow
from tests.unit.jobs.test_projector import FakeConsumer


def fetched(settings: Settings, path: str = "/metrics") -> tuple[int, str, str]:
    url = f"http://{settings.metrics_host}:{settings.effects_metrics_port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, "", error.read().decode()


def test_figures_are_in_the_format_of_prometheus() -> None:
    text = exposition(
        [
            Sample("beckon_effects_cells", 3),
            Sample("beckon_archive_rows_total", 1_234_567, ("events",)),
            Sample("beckon_archive_rows_total", 2.5, ('a"b\\c',)),
        ]
    )
    assert text == (
        "# HELP beckon_archive_rows_total rows kept, since the archive was begun\n"
        "# TYPE beckon_archive_rows_total counter\n"
        'beckon_archive_rows_total{table="events"} 1234567\n'
        'beckon_archive_rows_total{table="a\\"b\\\\c"} 2.5\n'
        "# HELP beckon_effects_cells figures by campaign, channel, segment and hour\n"
        "# TYPE beckon_effects_cells gauge\n"
        "beckon_effects_cells 3\n"
    )


def test_a_label_too_few_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        exposition([Sample("beckon_archive_rows_total", 1)])


def test_every_name_has_its_unit_and_no_customer_in_a_label() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"beckon_(projector|archive|effects)_[a-z_]+", name)
        assert name.endswith("_total") == (metric.kind == "counter")
        assert not {"user", "user_id", "customer"} & set(metric.labels)


def test_every_service_shows_each_of_its_names_and_no_other(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with Archive(tmp_path / "archive") as kept:
        samples = [*Archiver(settings, kept).samples()]
    samples += [*Effects(settings).samples()]
    samples += [*Projection("redis", MemoryView(), FakeConsumer([])).samples()]
    assert {sample.name for sample in samples} == set(METRICS)
    assert len(figures(exposition(samples))) == len(samples)


def test_the_losses_of_champion_and_challenger_are_those_last_told() -> None:
    consumer = FakeConsumer([message(shadow(700))])
    projecting = Projection("redis", MemoryView(), consumer)  # type: ignore[arg-type]
    projecting.advance()
    found = {each.name: each.value for each in projecting.samples()}
    assert found["beckon_projector_shadow_examples"] == 700
    assert found["beckon_projector_champion_log_loss_nats"] == 0.3
    assert found["beckon_projector_challenger_log_loss_nats"] == 0.2


def test_whoever_asks_is_answered_while_the_service_runs_and_not_after(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, effects_metrics_port=free_port())
    value = 1
    with exposed(settings, "effects", lambda: [Sample("beckon_effects_cells", value)]):
        status, kind, text = fetched(settings)
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        assert figures(text) == {"beckon_effects_cells": 1}
        value = 2
        assert figures(fetched(settings)[2]) == {"beckon_effects_cells": 2}
        assert fetched(settings, "/livez")[::2] == (200, "ok\n")
        assert fetched(settings, "/else")[0] == 404
    with pytest.raises(urllib.error.URLError):
        fetched(settings)


def test_without_a_port_nothing_listens(tmp_path: Path) -> None:
    with exposed(Settings(data_dir=tmp_path), "effects", lambda: []):
        pass


def test_a_port_that_is_taken_is_told_with_the_setting(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, effects_metrics_port=free_port())
    with (
        exposed(settings, "effects", lambda: []),
        pytest.raises(UserMistake, match="BECKON_EFFECTS_METRICS_PORT"),
        exposed(settings, "effects", lambda: []),
    ):
        pass


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert Settings().metrics_host == "127.0.0.1"


def test_the_document_is_made_from_the_table() -> None:
    assert document().read_text(encoding="utf-8") == markdown()
