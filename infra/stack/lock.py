"""Write the lock files of the local stack's jars: `python infra/stack/lock.py [NAME…]`.

Maven resolves each ``NAME.pom.xml`` beside this file; the coordinates, sizes and SHA-256 of what it
fetched become ``NAME.lock.json``. Only whoever changes a pom needs Maven: users download by the
lock (`jobs/stack/jars.py`).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def coordinates(path: Path) -> str:
    """``group:artifact:version`` (and ``:classifier``) of a path in a Maven repository."""
    *group, artifact, version, file = path.parts
    classifier = file.removeprefix(f"{artifact}-{version}").removesuffix(".jar").lstrip("-")
    parts = [".".join(group), artifact, version]
    return ":".join([*parts, classifier] if classifier else parts)


def resolve(pom: Path) -> list[dict[str, str | int]]:
    """The jars that a pom needs at run time, by path."""
    with tempfile.TemporaryDirectory() as folder:
        goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
        options = ["-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true"]
        command = ["mvn", "-q", "-B", "-f", str(pom), goal, *options, f"-DoutputDirectory={folder}"]
        subprocess.run(command, check=True)
        root = Path(folder)
        return [
            {
                "coordinates": coordinates(jar.relative_to(root)),
                "size": jar.stat().st_size,
                "sha256": hashlib.sha256(jar.read_bytes()).hexdigest(),
            }
            for jar in sorted(root.rglob("*.jar"))
        ]


def main(names: list[str]) -> None:
    """Lock the named poms, or all of them."""
    for pom in sorted(HERE.glob("*.pom.xml")):
        name = pom.name.removesuffix(".pom.xml")
        if names and name not in names:
            continue
        jars = resolve(pom)
        (HERE / f"{name}.lock.json").write_text(json.dumps({"jars": jars}, indent=1) + "\n")
        megabytes = sum(int(jar["size"]) for jar in jars) / 1e6
        print(f"{name}: {len(jars)} jars, {megabytes:.0f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
