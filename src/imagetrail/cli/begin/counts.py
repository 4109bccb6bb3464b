"""Params by how many pictures there are: what so few could not show is not asked."""

import math
from collections.abc import Iterator

from imagetrail.base.words import count_of
from imagetrail.cli.begin.choice import Choice
from imagetrail.cli.begin.look import LEAST, Look
from imagetrail.cli.begin.plans import Plan

UNEQUAL = 3  # pictures of the largest class by those of the smallest: beyond, classes count alike
FIRST_ALPHA = 0.025  # of gate.alpha, what the first challenger of a test set is given
SHOWN = 0.424  # accuracy: a loss by a class of n test pictures shows from SHOWN / √n
SMALL = 96  # pixels of a side: of larger ones, to see where the model looks takes longer
NOISE = 1.4  # of a calibration error over 15 bins, for a right share of 0.7, times √n


def counts(look: Look, chosen: Plan) -> Iterator[Choice]:
    yield _criterion(look)
    values = {"split.test": 0.2, "split.valid": chosen.valid_share(look)}
    published = f"{look.tested:,} test pictures are published"
    shares = published if look.tested else f"{look.count:,} pictures"
    yield Choice(values, f"{shares}; validation needs some hundred")
    alone = "each picture is judged once, as a test set alone would say little"
    tests = chosen.test(look)
    enough = f"{count_of(tests, 'test picture')} say enough"
    yield Choice({"split.folds": chosen.folds(look)}, alone if chosen.folds(look) else enough)
    least = max(LEAST, min(10, look.smallest))
    yield Choice({"inspect.min_per_class": least}, f"the smallest class has {look.smallest:,}")
    tested = look.tested / len(look.classes) or 0.2 * look.smallest
    margin = math.ceil(100 * max(0.03, _shown(tested))) / 100
    yield Choice(
        {"gate.margin": margin if margin <= 0.15 else None},
        f"about {count_of(round(tested), 'test picture')} in a class"
        + ("" if margin <= 0.15 else ": too few to show which class loses"),
    )
    yield _calibration(tests)
    maps, pictures = looked(look, chosen)
    yield Choice({"explain.per_class": maps}, f"{len(look.classes)} classes")
    yield Choice({"explain.pictures": pictures}, f"each by every method, with {chosen.model}")


def looked(look: Look, chosen: Plan) -> tuple[int, int]:
    """Pictures of a class with a map of where the model looks, and those that maps are tried on."""
    large = chosen.pretrained or chosen.size > SMALL
    drawn, tried = (16, 60) if large else (40, 100)  # of 24 photos no method passed, of 60 one did
    return max(1, min(4, drawn // len(look.classes))), tried


def _shown(tested: float) -> float:
    """The loss of accuracy that the gate can rule out for a class of so many test pictures.

    With room beyond the least, at which old and new model would have to agree on all of them.
    """
    from imagetrail.metrics.noninferiority import smallest_margin

    least = smallest_margin(tested, FIRST_ALPHA)
    return max(1.2 * least, SHOWN / math.sqrt(max(tested, 1)))


def _criterion(look: Look) -> Choice:
    sizes = f"the classes have {look.smallest:,} to {look.largest:,} pictures"
    if look.largest > UNEQUAL * look.smallest:
        return Choice({"decide_by": "macro_recall"}, f"{sizes}: each counts alike")
    return Choice({"decide_by": "top1"}, sizes)


def _calibration(tests: int) -> Choice:
    seen = count_of(tests, "test picture")
    error = NOISE / math.sqrt(max(tests, 1))
    bound = math.ceil(100 * max(0.05, 0.03 + error)) / 100
    if bound > 0.3:
        return Choice(
            {"gate.max_ece": None}, f"{count_of(tests, 'test picture')}: too few to tell it"
        )
    seen = f"{count_of(tests, 'test picture')} tell a calibration error but for {error:.2f}"
    return Choice({"gate.max_ece": bound}, seen)
