"""An operator arrives with its bundle's code, whatever the worker has imported before."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SHIPPING = Path("operators/shipping.py").read_text()


def code(folder: Path, answer: str, marker: str | None = None) -> Path:
    """A folder with an ``operators`` package whose operator gives an answer."""
    package = folder / "operators"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "shipping.py").write_text(SHIPPING)
    (package / "verb.py").write_text(
        textwrap.dedent("""
            from operators.shipping import Shipped

            class Verb(Shipped):
                def __init__(self, subject, bundle=""):
                    self.subject, self.bundle = subject, bundle

                def say(self):
                    from operators.late import ANSWER
                    return self.subject + " " + ANSWER
        """)
    )
    (package / "late.py").write_text(f"ANSWER = {answer!r}")
    if marker is not None:
        (folder / marker).touch()
    return folder


def python(script: str, *path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(script)],
        env={"PYTHONPATH": ":".join(map(str, path))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ship(submitted: Path, marker: str) -> str:
    return python(
        f"""
        import cloudpickle
        from operators.verb import Verb
        print(cloudpickle.dumps(Verb("it", {marker!r})).hex())
        """,
        submitted,
    )


ARRIVE = """
    import sys, cloudpickle
    {before}
    verb = cloudpickle.loads(bytes.fromhex("{shipped}"))
    print(verb.say())
"""


@pytest.mark.parametrize("before", ["", "import operators.verb, operators.late"])
def test_the_bundle_wins_over_what_the_worker_has(tmp_path: Path, before: str) -> None:
    bundle = code(tmp_path / "new", "is new", "beckon-2")
    worker = code(tmp_path / "old", "is old", "beckon-1")
    shipped = ship(bundle, "beckon-2")

    assert python(ARRIVE.format(before=before, shipped=shipped), worker, bundle) == "it is new"


def test_code_of_a_bundle_that_is_gone_is_not_kept(tmp_path: Path) -> None:
    gone, bundle = (code(tmp_path / name, name, "beckon-2") for name in ("gone", "here"))
    before = f"import operators.verb, shutil; shutil.rmtree({str(gone)!r})"

    shipped = ship(bundle, "beckon-2")

    assert python(ARRIVE.format(before=before, shipped=shipped), gone, bundle) == "it here"


def test_without_a_bundle_it_pickles_like_anything_else(tmp_path: Path) -> None:
    here = code(tmp_path, "as ever")

    assert python(ARRIVE.format(before="", shipped=ship(here, "")), here) == "it as ever"


def test_a_worker_without_the_bundle_says_so(tmp_path: Path) -> None:
    shipped = ship(code(tmp_path / "new", "", "beckon-2"), "beckon-2")
    worker = code(tmp_path / "old", "")

    script = f"""
        import cloudpickle
        try:
            cloudpickle.loads(bytes.fromhex("{shipped}"))
        except ImportError as error:
            print(error)
    """
    assert "beckon-2 is not among the worker's Python files" in python(script, worker)
