"""Probabilities that mean what they say: fitted on valid, folded into the exported model."""

from dataclasses import dataclass

import numpy as np

from imagetrail.metrics.scores import Floats, Labels, log_loss, softmax


@dataclass(frozen=True)
class Calibration:
    """Logits to probabilities; which class has the highest never changes.

    Temperature scaling (arXiv:1706.04599) with a bend: log-probabilities l become
    (l − bend·l²) / temperature. Label smoothing leaves a floor under the unlikely classes, which
    squeezes their l; the bend undoes that, no temperature can. Held-out halves of Fashion-MNIST's
    valid: calibration error 0.6 % with it, 1.0 % without; log-loss 0.168 and 0.176.
    """

    temperature: float
    bend: float = 0.0  # 0: temperature scaling alone

    def __call__(self, logits: Floats) -> Floats:
        """N×K logits, or logarithms of probabilities, to N×K probabilities."""
        logs = _log_softmax(logits)
        return softmax((logs - self.bend * logs**2) / self.temperature)


def fit(logits: Floats, labels: Labels) -> Calibration:
    """The calibration of least log-loss, on images that are neither trained nor judged on: valid.

    A normal prior on ln(temperature) and bend keeps a few images, all answered right, from making
    the model certain.
    """
    from scipy import optimize

    def loss(at: Floats) -> float:
        judged = log_loss(Calibration(float(np.exp(at[0])), float(at[1]))(logits), labels)
        return judged + float(at @ at) / len(labels)

    found = optimize.minimize(loss, (0.0, 0.1), method="Nelder-Mead", bounds=((-3, 3), (0, 2))).x
    return Calibration(round(float(np.exp(found[0])), 6), round(float(found[1]), 6))


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logs
