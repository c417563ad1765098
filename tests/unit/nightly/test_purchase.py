import numpy as np
import pytest

from jobs.trainers.ctr_study import sigmoid
from jobs.trainers.purchase import compare, export, margins, models, run
from schemas.errors import UserMistake

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def ring():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2_000, 4))
    truth = sigmoid(3.0 - 2.5 * (x[:, 0] ** 2 + x[:, 1] ** 2))
    return x, (rng.random(len(x)) < truth).astype(float)


@pytest.fixture(scope="module")
def found(ring):
    return compare(*ring, seed=1)


def test_four_are_compared_and_the_best_fits_what_no_line_can(found):
    by_name = {each.name: each for each in found.compared}
    assert set(by_name) == {"logistic", "random forest", "linear SVM", "RBF SVM"}
    assert found.best in ("random forest", "RBF SVM")
    assert by_name[found.best].auc > by_name["logistic"].auc + 0.2
    assert by_name[found.best].log_loss < found.base_log_loss
    assert all(len(each.folds) == 3 for each in found.compared)


def test_the_exported_file_gives_the_models_own_figures(found, ring):
    assert found.parity < 1e-4
    assert len(run(found.onnx, ring[0][:5])) == 5


@pytest.mark.parametrize("name", ["logistic", "random forest", "linear SVM", "RBF SVM"])
def test_each_of_them_can_be_exported(name, ring):
    x, y = ring[0].astype(np.float32).astype(float)[:300], ring[1][:300]
    model = models(1)[name].fit(x, y)
    theirs = run(export(model, 4), x)
    ours = margins(model, x)
    if hasattr(model, "predict_proba"):
        ours = model.predict_proba(x)[:, 1]
    assert np.abs(theirs - ours).max() < 1e-4


def test_too_few_buyers_are_refused():
    with pytest.raises(UserMistake, match="buyers of"):
        compare(np.zeros((200, 3)), np.zeros(200), seed=1)
