import msgspec
import numpy as np
import pytest

from jobs.models.artefact import KEY_VARIABLE, load, prove, save
from schemas.errors import UserMistake
from tests.unit.models.made import artefact


def test_an_artefact_is_read_back_as_it_was(tmp_path):
    save(tmp_path / "a.json", artefact())
    assert load(tmp_path / "a.json") == artefact()


def test_four_hundred_changed_files_are_all_refused():
    data = msgspec.json.encode(artefact())
    rng = np.random.default_rng(9)
    accepted = 0
    for number in range(400):
        spoilt = bytearray(data)
        place = int(rng.integers(0, len(data)))
        match number % 4:
            case 0:
                spoilt[place] ^= 1 << int(rng.integers(0, 8))
            case 1:
                del spoilt[place]
            case 2:
                spoilt.insert(place, int(rng.integers(32, 127)))
            case 3:
                del spoilt[place:]
        if bytes(spoilt) == data:
            continue
        try:
            prove(bytes(spoilt), "mutant")
            accepted += 1
        except UserMistake:
            pass
    assert accepted == 0


def test_a_metric_that_is_touched_up_is_refused():
    found = artefact()
    better = msgspec.structs.replace(found.card, rows=10**6)
    with pytest.raises(UserMistake, match="seal does not fit"):
        prove(msgspec.json.encode(msgspec.structs.replace(found, card=better)), "it")


def test_with_a_key_only_what_it_signed_is_taken(monkeypatch):
    bare = msgspec.json.encode(artefact())
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    signed = msgspec.json.encode(artefact())
    assert prove(signed, "it").signed
    with pytest.raises(UserMistake, match="not signed"):
        prove(bare, "it")
    monkeypatch.setenv(KEY_VARIABLE, "another")
    with pytest.raises(UserMistake, match="seal does not fit"):
        prove(signed, "it")
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(UserMistake, match="set BECKON_MODEL_KEY"):
        prove(signed, "it")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserMistake, match="cannot read"):
        load(tmp_path / "nothing.json")
