"""scikit-learn's logistic regression on features of the same pretrained network as ours.

The features are those of EfficientNet-Lite0 that the head of ours sees, standardised. C is chosen
by five folds of train.
"""

import time
import warnings

import numpy as np
from photos_ours import features, part
from photos_peer import given, report
from photos_sets import ROWS, SETS
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from imagetrail.data import own

CHOICES = np.logspace(-4, 0, 5)
MANY = 10_000  # pictures: of fewer, its products are so small that one thread is faster than two


def main() -> None:
    task = given()
    warnings.simplefilter("ignore", ConvergenceWarning)  # more iterations change next to nothing
    before = time.perf_counter()
    pictures = own.read(task.folder, None, str(task.folder))
    row = ROWS[task.folder.parent.name]
    shape = {"size": task.size, "channels": SETS[row.set].channels}
    train = part(pictures, "train", **shape)
    regression = LogisticRegressionCV(
        Cs=CHOICES,
        l1_ratios=(0.0,),
        cv=5,
        scoring="accuracy",
        max_iter=200,
        use_legacy_attributes=False,
    )
    head = make_pipeline(StandardScaler(), regression)
    known = features(train, train, row)
    with threadpool_limits(None if len(train) > MANY else 1):
        head.fit(known, train.labels)
    seconds = time.perf_counter() - before
    answers = head.predict(features(train, part(pictures, "test", **shape), row))
    report(seconds, answers.tolist(), train.classes, c=float(regression.C_))


if __name__ == "__main__":
    main()
