"""Files as people get them wrong, and all that they are told; `said.txt` is there to be read."""

from pathlib import Path

import pytest

from jobs.campaigns.files import read_files
from schemas.errors import UserMistake

FOLDER = Path(__file__).resolve().parents[1] / "broken_campaigns"
SAID = (FOLDER / "said.txt").read_text().splitlines()
NOW_MS = 1_767_225_600_000  # 2026-01-01
BROKEN = sorted(path for path in FOLDER.iterdir() if path.name not in ("odd", "said.txt"))
ODD = sorted((FOLDER / "odd").iterdir())


def told(path):
    """What is told about a file or folder of files, by the golden."""
    name = str(path.relative_to(FOLDER))
    return [line for line in SAID if line.startswith((f"{name}:", f"{name}/"))]


def plain(line):
    return line.replace(f"{FOLDER}/", "")


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_file_is_refused_with_file_line_field_and_fix(path):
    with pytest.raises(UserMistake) as refused:
        read_files([path], NOW_MS)
    assert [plain(line) for line in str(refused.value).splitlines()] == told(path) != []


@pytest.mark.parametrize("path", ODD, ids=lambda path: path.stem)
def test_an_odd_file_is_accepted_with_a_warning_of_what_will_happen(path):
    (file,) = read_files([path], NOW_MS)
    assert [plain(line) for line in file.warnings] == told(path) != []


def test_there_are_twenty_and_nothing_is_told_of_a_file_that_is_not_there():
    assert len(BROKEN) >= 20
    assert sorted(SAID) == sorted(line for path in BROKEN + ODD for line in told(path))
