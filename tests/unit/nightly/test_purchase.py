import numpy as np
import pytest

from jobs.trainers.base import Sample, Setup
from jobs.trainers.ctr_study import sigmoid
from jobs.trainers.learned import predict, run
from jobs.trainers.purchase import Classifier, export, fit, margins, models
from schemas.errors import UserMistake

pytestmark = pytest.mark.filterwarnings("ignore")
NAMES = ("a", "b", "c", "d")
SETUP = Setup("t", 1, seed=1)


def ring(rows=2_400):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(rows, 4))
    truth = sigmoid(3.0 - 2.5 * (x[:, 0] ** 2 + x[:, 1] ** 2))
    return Sample(NAMES, x, (rng.random(rows) < truth).astype(float), np.arange(rows) * 1_000)


@pytest.fixture(scope="module")
def found():
    return fit(ring(), SETUP)


def test_four_are_compared_and_the_best_fits_what_no_line_can(found):
    columns, rows, _ = found.tables["Compared"]
    by_name = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert set(by_name) == {"logistic", "random forest", "linear SVM", "RBF SVM"}
    best = found.card.notes[0].split(",")[0]
    assert best in ("random forest", "RBF SVM")
    assert by_name[best]["AUC"] > by_name["logistic"]["AUC"] + 0.2
    assert found.card.metrics.log_loss.high < found.card.metrics.base_log_loss
    assert all(len(row["loss by fold"].split()) == 3 for row in by_name.values())
    assert {name for name, _ in found.card.importance[:2]} == {"a", "b"}


def test_the_exported_file_gives_calibrated_chances(found):
    rows = ring().features[-400:]
    chances = predict(found.model, rows)
    assert found.card.parity < 1e-4
    assert chances.mean() == pytest.approx(ring().target[-400:].mean(), abs=0.06)


@pytest.mark.parametrize("name", ["logistic", "random forest", "linear SVM", "RBF SVM"])
def test_each_of_them_can_be_exported_with_its_calibration(name):
    sample = ring(300)
    x = sample.features.astype(np.float32).astype(float)
    model = models(1)[name].fit(x, sample.target)
    made = Classifier(model, (1.7, -0.4), np.zeros(0))
    ours = sigmoid(1.7 * margins(model, x) - 0.4)
    assert np.abs(run(export(made, 4), x) - ours).max() < 1e-4


def test_too_few_buyers_are_refused():
    nobody = ring(200)._replace(target=np.zeros(200))
    with pytest.raises(UserMistake, match="one class only"):
        fit(nobody, SETUP)
