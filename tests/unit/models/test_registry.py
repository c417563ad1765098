import msgspec
import numpy as np
import pytest

from jobs.models.guard import LEAST, Served, breach
from jobs.models.judge import Verdict, judge
from jobs.models.registry import Registry
from jobs.models.served import served
from schemas.control import CANARY
from schemas.errors import UserMistake
from schemas.learning import Example, Reward
from scoring.features import FEATURE_HASH, FEATURES
from scoring.model import LogisticModel
from tests.unit.models.made import artefact

WIDTH = len(FEATURES)
WON = Verdict("mean", "v", True, 1_000, 0.1, 0.05, 0.2, 0.99, ())


@pytest.fixture
def registry(tmp_path):
    found = Registry(tmp_path)
    for version in ("v1", "v2", "v3"):
        found.add(artefact(version), WON)
    return found


def test_a_model_goes_through_shadow_and_canary_to_all_and_back(registry):
    [(key, shadow)] = registry.promote("v1", "shadow", 0.1, 10)
    assert (key, shadow.id, shadow.share) == (f"model/{CANARY}", CANARY, 0.0)
    [(_, canary)] = registry.promote("v1", "canary", 0.1, 20)
    assert (canary.version, canary.share, canary.updated_ms) == ("v1", 0.1, 20)
    assert registry.state.share == 0.1
    (key, model), gone = registry.promote("v1", "all", 0.1, 30)
    assert (key, model.version, model.share, gone) == (
        "model/ctr",
        "v1",
        1.0,
        (f"model/{CANARY}", None),
    )
    registry.promote("v2", "all", 0.1, 40)
    [(key, model)] = registry.rollback(50, "worse")
    assert (key, model.version, model.updated_ms) == ("model/ctr", "v1", 50)
    assert registry.state.champion == "v1"
    assert [move.why for move in registry.state.history][-1] == "rolled back to: worse"
    with pytest.raises(UserMistake, match="nothing to return to"):
        registry.rollback(60, "again")


def test_a_canary_is_withdrawn_and_the_champion_stays(registry):
    registry.promote("v1", "all", 0.1, 1)
    registry.promote("v2", "canary", 0.2, 2)
    assert registry.rollback(3, "broke a rail") == [(f"model/{CANARY}", None)]
    assert (registry.state.champion, registry.state.challenger) == ("v1", "")


def test_what_did_not_win_is_only_promoted_by_force(registry):
    registry.add(artefact("v4"))
    with pytest.raises(UserMistake, match="never judged"):
        registry.promote("v4", "shadow", 0.1, 1)
    registry.add(artefact("v4"), msgspec.structs.replace(WON, won=False))
    with pytest.raises(UserMistake, match="did not win"):
        registry.promote("v4", "all", 0.1, 1)
    assert registry.promote("v4", "all", 0.1, 1, force=True)
    assert registry.state.history[-1].why == "forced"


def test_a_version_never_changes(registry):
    registry.add(artefact("v1"))
    other = artefact("v1")
    other = type(other).of(other.model, msgspec.structs.replace(other.card, rows=7))
    with pytest.raises(UserMistake, match="versions never change"):
        registry.add(other)


@pytest.mark.parametrize("version", ["nothing", "../v1"])
def test_an_unknown_version_is_named_with_those_there_are(registry, version):
    with pytest.raises(UserMistake, match="v1, v2, v3"):
        registry.artefact(version)


def test_a_damaged_artefact_is_not_promoted(registry):
    path = registry.path("v1")
    path.write_bytes(path.read_bytes().replace(b"to rank", b"to tank"))
    with pytest.raises(UserMistake, match="seal does not fit"):
        registry.promote("v1", "all", 0.1, 1)
    assert registry.state.champion == ""


def contest(seed, shift, rows=4_000):
    """A champion that is the truth, and a challenger off by ``shift`` in its first weights."""
    rng = np.random.default_rng((seed, 1))
    x = rng.normal(size=(rows, WIDTH))
    weights = np.zeros(WIDTH)
    weights[:4] = (0.9, -0.7, 0.5, 0.3)
    y = (rng.random(rows) < 1 / (1 + np.exp(2.5 - x @ weights))).astype(float)
    other = weights.copy()
    other[:2] += shift * np.array([1.0, -1.0])
    champion = LogisticModel("old", FEATURE_HASH, weights.tolist(), -2.5)
    challenger = LogisticModel("new", FEATURE_HASH, other.tolist(), -2.5)
    users = rng.integers(0, rows // 3, rows)
    return champion, challenger, x, y, users


@pytest.mark.parametrize("seed", range(20))
def test_a_worse_challenger_never_wins_and_a_better_one_does(seed):
    champion, challenger, *rows = contest(seed, -0.5)
    rng = np.random.default_rng(seed)
    worse = judge(champion, challenger, *rows, {}, rng=rng, time_them=False)
    assert not worse.won
    assert "log loss" in worse.reason
    better = judge(challenger, champion, *rows, {}, rng=rng, time_them=False)
    assert better.won, better.reason


def test_an_equal_challenger_is_not_promoted():
    champion, challenger, *rows = contest(1, 0.0)
    found = judge(champion, challenger, *rows, {}, rng=np.random.default_rng(1), time_them=False)
    assert not found.won


def test_a_challenger_that_harms_a_group_or_has_few_rows_or_is_too_large_loses():
    champion, challenger, x, y, users = contest(3, -0.5, 12_000)
    group = np.where(np.arange(len(y)) % 8 == 0, "few", "many")
    mine = group == "few"
    x[mine, 6] = 3.0
    better = list(champion.weights)
    better[6] = 0.8
    harmful = LogisticModel("new", FEATURE_HASH, better, -2.5)
    x[~mine, 6] = 0.0
    rng = np.random.default_rng(3)
    found = judge(challenger, harmful, x, y, users, {"size": group}, rng=rng, time_them=False)
    assert not found.won
    assert "size few" in found.reason
    few = judge(challenger, champion, x[:100], y[:100], users[:100], {}, rng=rng, time_them=False)
    assert "at least 500 are needed" in few.reason
    large = judge(challenger, champion, x, y, users, {}, rng=rng, size_bytes=10**6,
                  time_them=False)  # fmt: skip
    assert "of 65536 bytes" in large.reason


@pytest.mark.parametrize(
    ("canary", "why"),
    [
        (Served(LEAST, 2, 20.0), "against the champion's"),
        (Served(LEAST, 20, 80.0), "promised 40.00%"),
        (Served(LEAST, 20, 20.0, left=30), "unsubscribed"),
        (Served(1, 0, 0.1, failed=1), "no number"),
        (Served(LEAST, 20, 20.0), ""),
        (Served(LEAST - 1, 0, 100.0), ""),
    ],
)
def test_a_canary_that_breaks_a_rail_is_named_with_its_figures(canary, why):
    found = breach(canary, Served(2_000, 200, 200.0, left=5))
    assert (why in found) if why else not found


def test_what_was_served_is_summed_by_version_and_repeats_change_nothing():
    def example(name, version, *, holdout=False):
        return Example(name, "u", "c", "sms", [], "h", 0.25, 1.0, version, 1, holdout)

    records = [
        example("a", "v1"), example("a", "v1"), example("b", "v2"),
        example("h", "v2", holdout=True), example("open", "v2"),
        Reward("b", "u", "c", "sms", "expired", 0.0, 1),
        Reward("b", "u", "c", "sms", "clicked", 1.0, 2),
        Reward("a", "u", "c", "sms", "expired", 0.0, 2),
        Reward("a", "u", "c", "sms", "unsubscribed", 0.0, 2),
    ]  # fmt: skip
    found = served(records)
    assert found["v1"] == Served(1, 0, 0.25, left=1)
    assert found["v2"] == Served(1, 1, 0.25)
