"""What the images are made of: pinned jars and rendered configuration.

python bake.py jars LOCK FOLDER    the jars of infra/stack/LOCK.lock.json, verified
python bake.py hbase FOLDER        configuration and Java options of HBase and its Thrift server
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from jobs.settings import Settings
from jobs.stack.hbase import MODERN_JAVA
from jobs.stack.jars import JarCache, read_lock
from jobs.stack.server import Site


def jars(lock: str, folder: Path) -> None:
    """Copy a lock's jars side by side into a folder."""
    settings = Settings()
    cache = JarCache(settings.cache / "jars", settings.maven_repository)
    folder.mkdir(parents=True, exist_ok=True)
    for jar in cache.fetch(read_lock(settings.infra / "stack" / f"{lock}.lock.json")):
        shutil.copy(jar, folder)


def hbase(folder: Path) -> None:
    """Write ``hbase/``, ``thrift/`` and one Java argument file for each.

    Both run in one network namespace, so they meet on loopback; only Thrift faces the others, by
    its option ``-b``.
    """
    site = Site(Settings(), folder)
    for name, template in (("hbase", "hbase-site.xml"), ("thrift", "thrift-site.xml")):
        config = folder / name
        config.mkdir(parents=True, exist_ok=True)
        site.render(template, config / "hbase-site.xml", data="/data")
        level = "-Dorg.apache.logging.log4j.level=INFO"
        options = [
            *MODERN_JAVA,
            level,
            "-XX:MaxRAMPercentage=60",
            "-cp",
            f"{config}:{folder}/lib/*",
        ]
        (folder / f"{name}.options").write_text("\n".join(options) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["jars", lock, folder]:
            jars(lock, Path(folder))
        case ["hbase", folder]:
            hbase(Path(folder))
        case _:
            sys.exit(__doc__)
