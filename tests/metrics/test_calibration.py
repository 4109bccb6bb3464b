"""Calibration against models whose fault is known: scaled logits, and labels that were smoothed."""

import numpy as np
import pytest

from imagetrail.metrics import calibration, scores
from imagetrail.metrics.calibration import Calibration
from imagetrail.metrics.scores import Floats, Labels


def true_model(count: int = 20_000, classes: int = 5) -> tuple[Floats, Labels]:
    """Logits that are right about how sure they are, and labels drawn from them."""
    rng = np.random.default_rng(1)
    logits = 3 * rng.normal(size=(count, classes))
    cumulated = scores.softmax(logits).cumsum(1)
    return logits, (cumulated < rng.random((count, 1))).sum(1).clip(0, classes - 1)


def test_calibration_finds_back_the_factor_that_logits_were_scaled_by() -> None:
    logits, labels = true_model()
    found = calibration.fit(3 * logits, labels)
    assert found.temperature == pytest.approx(3, rel=0.05) and found.bend < 0.02


def test_calibration_undoes_label_smoothing_which_no_temperature_does() -> None:
    logits, labels = true_model()
    smoothed = np.log(0.9 * scores.softmax(logits) + 0.1 / 5)
    fitted, judged = slice(0, 10_000), slice(10_000, None)

    def judge(chosen: Calibration) -> tuple[float, float]:
        answers = chosen(smoothed[judged])
        return scores.ece(answers, labels[judged]), scores.log_loss(answers, labels[judged])

    errors, losses = zip(
        *(judge(Calibration(float(t))) for t in np.geomspace(0.2, 5, 60)), strict=True
    )
    error, loss = judge(calibration.fit(smoothed[fitted], labels[fitted]))
    assert error < 0.9 * min(errors) and loss < 0.995 * min(losses)


def test_calibration_never_changes_which_class_is_the_likeliest() -> None:
    logits, _ = true_model(1000)
    for chosen in (
        Calibration(0.3),
        Calibration(4.0),
        Calibration(1.0, 0.5),
        Calibration(0.5, 2.0),
    ):
        assert (chosen(logits).argmax(1) == logits.argmax(1)).all()


def test_probabilities_do_as_logits_through_their_logarithm() -> None:
    logits, _ = true_model(100)
    chosen = Calibration(1.3, 0.3)
    assert np.allclose(chosen(np.log(scores.softmax(logits))), chosen(logits))


def test_a_few_images_all_answered_right_do_not_make_the_model_certain() -> None:
    logits, _ = true_model(40)
    found = calibration.fit(logits, logits.argmax(1))
    assert found.temperature > 0.2 and found.bend < 1
