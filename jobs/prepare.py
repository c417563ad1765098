"""``beckon prepare``: one row for each customer by Flink batch SQL, for data too big for a machine.

The same cleaning and the same columns as `jobs.analytics.history` makes day by day with pandas, as
one query over the archive's Parquet on a Flink cluster:

    events ─▶ once each (event_id) ─▶ without double clicks ─┬─▶ sums by customer ─────┬─▶ customers
                                                            └─▶ view, cart, pay ─▶ sums ┘

PyFlink plans through a JVM that lives as long as the Python process, so a child does it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from jobs.analytics.cleaning import NEAR_MS
from jobs.settings import Settings
from jobs.stack.jars import JarCache, read_lock
from jobs.submit import client_environment
from schemas.errors import UserMistake

LOCK: Final = "parquet"
_FAILED: Final = 3

SOURCE: Final = """
CREATE TEMPORARY TABLE events (
    event_id STRING, user_id STRING, action STRING, ts BIGINT, item_id STRING,
    price DOUBLE, quantity BIGINT, `day` STRING
) PARTITIONED BY (`day`) WITH (
    'connector' = 'filesystem', 'format' = 'parquet', 'path' = '{path}'
)"""

SINK: Final = """
CREATE TEMPORARY TABLE customers (
    user_id STRING, events BIGINT, `views` BIGINT, carts BIGINT, orders BIGINT, order_days BIGINT,
    money DOUBLE, seen BIGINT, kept BIGINT, paid BIGINT, first_ms BIGINT, first_order_ms BIGINT,
    last_ms BIGINT, last_order_ms BIGINT
) WITH ('connector' = 'filesystem', 'format' = 'parquet', 'path' = '{path}')"""

QUERY: Final = """
INSERT INTO customers
WITH numbered AS (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY `day`, user_id, event_id ORDER BY ts) AS again
    FROM events WHERE `day` BETWEEN '{first}' AND '{last}' AND action <> 'tags'
), followed AS (
    SELECT *, LAG(ts) OVER (PARTITION BY `day`, user_id, action, item_id ORDER BY ts) AS before_ms
    FROM numbered WHERE again = 1
), clean AS (
    SELECT * FROM followed
    WHERE before_ms IS NULL OR item_id IS NULL OR ts - before_ms > {near_ms}
), firsts AS (
    SELECT user_id,
        MIN(CASE WHEN action = 'view' THEN ts END) AS viewed_ms,
        MIN(CASE WHEN action = 'cart' THEN ts END) AS carted_ms,
        MIN(CASE WHEN action = 'purchase' THEN ts END) AS paid_ms
    FROM clean WHERE item_id IS NOT NULL GROUP BY `day`, user_id, item_id
), steps AS (
    SELECT user_id,
        COUNT(viewed_ms) AS seen,
        SUM(CASE WHEN carted_ms >= viewed_ms THEN 1 ELSE 0 END) AS kept,
        SUM(CASE WHEN carted_ms >= viewed_ms AND paid_ms >= carted_ms THEN 1 ELSE 0 END) AS paid
    FROM firsts GROUP BY user_id
), sums AS (
    SELECT user_id,
        COUNT(*) AS events,
        SUM(CASE WHEN action = 'view' THEN 1 ELSE 0 END) AS `views`,
        SUM(CASE WHEN action = 'cart' THEN 1 ELSE 0 END) AS carts,
        SUM(CASE WHEN action = 'purchase' THEN 1 ELSE 0 END) AS orders,
        COUNT(DISTINCT CASE WHEN action = 'purchase' THEN `day` END) AS order_days,
        SUM(CASE WHEN action = 'purchase'
            THEN COALESCE(price, 0) * COALESCE(CAST(quantity AS DOUBLE), 1) ELSE 0 END) AS money,
        MIN(ts) AS first_ms,
        MIN(CASE WHEN action = 'purchase' THEN ts END) AS first_order_ms,
        MAX(ts) AS last_ms,
        MAX(CASE WHEN action = 'purchase' THEN ts END) AS last_order_ms
    FROM clean GROUP BY user_id
)
SELECT sums.user_id, events, `views`, carts, orders, order_days, money,
    CAST(COALESCE(seen, 0) AS BIGINT), CAST(COALESCE(kept, 0) AS BIGINT),
    CAST(COALESCE(paid, 0) AS BIGINT), first_ms, first_order_ms, last_ms, last_order_ms
FROM sums LEFT JOIN steps ON sums.user_id = steps.user_id"""


def prepare(
    into: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the rows go; emptied")],
    archive: Annotated[
        Path | None, typer.Option(help="the archive; the configured one when left out")
    ] = None,
    day: Annotated[
        str, typer.Option(help="the newest day, YYYY-MM-DD; yesterday if left out")
    ] = "",
    days: Annotated[int, typer.Option(min=1, help="how many up to it")] = 90,
) -> None:
    """Clean the archive's events and sum them up by customer, as Parquet, on the Flink cluster."""
    from jobs.nightly.command import parse_day

    settings = Settings()
    folder = archive or settings.archive
    seconds = run(settings, folder, into, parse_day(day), days)
    typer.echo(f"{into}: one row for each customer, in {seconds:.1f} s")


def run(settings: Settings, archive: Path, into: Path, last: date, days: int) -> float:
    """Run the query on the cluster; returns how many seconds it took.

    Raises:
        UserMistake: there are no events, or the cluster refused or failed the job.
    """
    events = archive.resolve() / "events"
    if not any(events.glob("day=*/*.parquet")):
        raise UserMistake(f"no events in {events}: archive the stream, or name another --archive")
    if into.exists():
        _empty(into)
    environment = client_environment(settings)
    jars = JarCache(settings.cache / "jars", settings.maven_repository).fetch(
        read_lock(settings.infra / "stack" / f"{LOCK}.lock.json")
    )
    for jar in jars:  # the planner must know the format as well
        (Path(environment["FLINK_LIB_DIR"]) / jar.name).symlink_to(jar)
    at = urlsplit(settings.flink)
    order = {
        "options": {
            "execution.target": "remote",
            "rest.address": at.hostname or settings.host,
            "rest.port": str(at.port or 80),
            "parallelism.default": str(settings.task_managers),
            "pipeline.jars": ";".join(jar.resolve().as_uri() for jar in jars),
            "pipeline.name": "beckon-prepare",
        },
        "statements": [
            SOURCE.format(path=events.as_uri()),
            SINK.format(path=into.resolve().as_uri()),
            QUERY.format(
                first=(last - timedelta(days=days - 1)).isoformat(),
                last=last.isoformat(),
                near_ms=NEAR_MS,
            ),
        ],
    }
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "jobs.prepare"],
        input=json.dumps(order).encode(),
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()
        causes = [line for line in lines if "Caused by: " in line] or lines[-8:]
        raise UserMistake("the cluster did not prepare the archive:\n" + "\n".join(causes[-3:]))
    return time.monotonic() - began


def _empty(into: Path) -> None:
    """Remove what an earlier run has left, and nothing else."""
    if not into.is_dir():
        raise UserMistake(f"{into} is no folder; name another one for the rows")
    for path in into.iterdir():
        if not path.name.startswith(("part-", ".staging_")):
            raise UserMistake(f"{into} holds {path.name}, which is not ours; name another folder")
    shutil.rmtree(into)


def main() -> None:
    """Run the statements of standard input, the last one to its end."""
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment

    order = json.load(sys.stdin)
    configuration = Configuration()
    for key, value in order["options"].items():
        configuration.set_string(key, value)
    tables = TableEnvironment.create(
        EnvironmentSettings.new_instance().in_batch_mode().with_configuration(configuration).build()
    )
    *declared, query = order["statements"]
    for statement in declared:
        tables.execute_sql(statement)
    tables.execute_sql(query).wait()
    sys.stderr.flush()
    os._exit(0)  # leaving in the regular way waits for the JVM's goodbye


if __name__ == "__main__":
    main()
