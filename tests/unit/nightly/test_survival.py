import numpy as np
import pytest

from jobs.trainers.survival import best_hours, cox, weibull
from schemas.errors import UserMistake

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def rossi():
    from lifelines.datasets import load_rossi

    return load_rossi()


def test_cox_gives_the_published_coefficients_of_rossi(rossi):
    found = {hazard.name: hazard for hazard in cox(rossi, "week", "arrest").hazards}
    for name, coefficient in (("fin", -0.3794), ("age", -0.0574), ("prio", 0.0915)):
        hazard = found[name]
        assert hazard.coefficient == pytest.approx(coefficient, abs=5e-5)
        assert hazard.ratio == pytest.approx(np.exp(coefficient), rel=1e-3)
        assert hazard.low < hazard.ratio < hazard.high
    assert found["age"].proportional_p < 0.05  # as is known of this set
    assert found["prio"].proportional_p > 0.05


def test_weibull_is_lifelines_on_rossi(rossi):
    from lifelines import WeibullAFTFitter

    theirs = WeibullAFTFitter().fit(rossi, "week", "arrest")
    names = tuple(name for name in rossi.columns if name not in ("week", "arrest"))
    ours = weibull(
        names, rossi[list(names)].to_numpy(float), rossi["week"].to_numpy(float),
        rossi["arrest"].to_numpy(float),
    )  # fmt: skip
    for name, slope in zip(names, ours.slopes, strict=True):
        assert slope == pytest.approx(theirs.params_["lambda_", name], abs=2e-3)
    assert ours.shape == pytest.approx(np.exp(theirs.params_["rho_", "Intercept"]), abs=2e-3)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood_, abs=1e-3)
    assert ours.log_likelihood > ours.base_log_likelihood


def test_censoring_is_handled_and_not_dropped():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20_000, 1))
    truth = np.exp(3 + 0.5 * x[:, 0]) * rng.weibull(1.4, 20_000)
    limit = rng.uniform(1, 40, 20_000)
    seen = (truth <= limit).astype(float)
    days = np.minimum(truth, limit)
    found = weibull(("x",), x, days, seen)
    assert (found.intercept, found.slopes[0], found.shape) == pytest.approx(
        (3.0, 0.5, 1.4), abs=0.05
    )
    naive = weibull(("x",), x[seen == 1], days[seen == 1], np.ones(int(seen.sum())))
    assert naive.intercept < 2.8


def test_chances_are_conditional_on_having_waited():
    found = weibull(("x",), np.zeros((50, 1)), np.linspace(1, 20, 50), np.ones(50))
    row = np.zeros((1, 1))
    fresh, waited = (found.within(row, np.array([days]), 30.0)[0] for days in (0.0, 10.0))
    assert 0.9 < fresh <= waited <= 1.0
    half = found.median_days(row)
    assert found.survival(row, half)[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("days", "seen", "why"),
    [
        (np.array([1.0, -2.0] * 20), np.ones(40), "clock ran backwards"),
        (np.array([1.0, np.nan] * 20), np.ones(40), "clock ran backwards"),
        (np.ones(40), np.zeros(40), "0 events in 40 rows"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(days, seen, why):
    with pytest.raises(UserMistake, match=why):
        weibull(("x",), np.zeros((40, 1)), days, seen)


def test_who_came_twice_is_taken_for_like_the_others_and_who_came_often_is_not():
    group = np.zeros((50, 24))
    group[:, 19] = 20
    group[0] = 0
    group[0, 4] = 2
    group[1] = 0
    group[1, 4] = 60
    hours, own = best_hours(group, np.zeros(50))
    assert (hours[0], hours[1], hours[2]) == (19, 4, 19)
    assert own[0] < 0.2 < 0.8 < own[1]
