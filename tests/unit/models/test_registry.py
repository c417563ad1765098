import msgspec
import numpy as np
import pytest

from jobs.models.judge import Verdict, judge
from jobs.models.registry import Registry
from jobs.models.rollout import State, roll_back
from schemas.errors import UserMistake
from schemas.model import CANARY
from scoring.features import FEATURE_HASH, FEATURES
from scoring.model import LogisticModel
from tests.unit.models.made import artefact

WIDTH = len(FEATURES)
ALL, BESIDE = "model/ctr", f"model/{CANARY}"
WON = Verdict("mean", "v", True, 1_000, 0.1, 0.05, 0.2, 0.99, ())


@pytest.fixture
def registry(tmp_path):
    found = Registry(tmp_path)
    for version in ("v1", "v2", "v3"):
        found.add(artefact(version), WON)
    return found


class Broker:
    """Takes what is announced, unless it is away."""

    def __init__(self):
        self.models, self.told, self.away = {}, [], False

    def __call__(self, announced, told):
        if self.away:
            raise UserMistake("no broker")
        for key, record in announced:
            self.models.pop(key, None)
            if record is not None:
                self.models[key] = record
        self.told.append(told)

    def held(self):
        return {key: (model.version, model.share) for key, model in self.models.items()}


@pytest.fixture
def broker():
    return Broker()


def test_each_stage_is_announced_as_the_stream_must_hold_it(registry, broker):
    registry.promote("v1", "all", 0.1, 1, "hand", broker, force=True)
    assert broker.held() == {ALL: ("v1", 1.0)}
    registry.promote("v2", "shadow", 0.1, 10, "hand", broker)
    assert broker.held() == {ALL: ("v1", 1.0), BESIDE: ("v2", 0.0)}
    registry.promote("v2", "canary", 0.1, 20, "hand", broker)
    assert broker.held() == {ALL: ("v1", 1.0), BESIDE: ("v2", 0.1)}
    registry.promote("v2", "all", 0.1, 30, "hand", broker)
    assert broker.held() == {ALL: ("v2", 1.0), BESIDE: ("v1", 0.0)}
    registry.move(lambda state: roll_back(state, 40, "worse", "hand"), broker)
    assert broker.held() == {ALL: ("v1", 1.0)}
    assert {model.updated_ms for model in broker.models.values()} == {40}
    assert [(told.stage, told.version, told.because) for told in broker.told][-1] == (
        "rolled back",
        "v2",
        "worse",
    )


def test_what_the_broker_does_not_take_is_not_in_force(registry, broker):
    broker.away = True
    with pytest.raises(UserMistake, match="no broker"):
        registry.promote("v1", "shadow", 0.1, 1, "hand", broker)
    assert registry.state == State()
    broker.away = False
    assert registry.promote("v1", "shadow", 0.1, 2, "hand", broker) == registry.state
    assert broker.held() == {BESIDE: ("v1", 0.0)}


def test_a_stage_is_not_skipped(registry, broker):
    with pytest.raises(UserMistake, match="in canary before it goes to all"):
        registry.promote("v1", "all", 0.1, 1, "hand", broker)
    with pytest.raises(UserMistake, match="in shadow before it goes to canary"):
        registry.promote("v1", "canary", 0.1, 1, "hand", broker)
    assert not broker.told


def test_what_did_not_win_is_only_promoted_by_force(registry, broker):
    registry.add(artefact("v4"))
    with pytest.raises(UserMistake, match="never judged"):
        registry.promote("v4", "shadow", 0.1, 1, "hand", broker)
    registry.add(artefact("v4"), msgspec.structs.replace(WON, won=False))
    with pytest.raises(UserMistake, match="did not win"):
        registry.promote("v4", "shadow", 0.1, 1, "hand", broker)
    after = registry.promote("v4", "all", 0.1, 1, "hand", broker, force=True)
    assert (after.champion, after.history[-1].why) == ("v4", "forced")


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


def test_a_damaged_artefact_is_not_promoted(registry, broker):
    path = registry.path("v1")
    path.write_bytes(path.read_bytes().replace(b"to rank", b"to tank"))
    with pytest.raises(UserMistake, match="seal does not fit"):
        registry.promote("v1", "shadow", 0.1, 1, "hand", broker)
    assert registry.state == State()


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
