"""Few images of MNIST or Fashion-MNIST and ways to learn from them: what scarcity.py compares."""

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch
from harness import CACHE, HERE, arrays, keras, load
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

import imagetrail
from imagetrail.base import files
from imagetrail.base.rng import generator
from imagetrail.base.samples import Samples, make_index
from imagetrail.data import datasets
from imagetrail.data.decoding import Target
from imagetrail.models import classifier, inference
from imagetrail.stages.augment import policy
from imagetrail.stages.pretrain.weights import IMAGENET, read
from imagetrail.stages.synthesise.synthesis import SYNTHESISERS
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.recipe import Recipe
from imagetrail.training.transforms import Jitter

COUNTS = (10, 100, 1000)  # labelled images a class
ARMS = ("plain", "real", "augmented", "synthetic", "related", "all")
HELD_OUT = 5000  # images of the train set that no draw has
CHOOSING = 2000  # of these, by which the best arm is chosen
VIEWS = 4  # changed versions of a picture that are judged with it
MIRRORED = 1000  # up to so many images, the probe learns from their mirror images too
STEPS = {10: 300, 100: 1000, 1000: 500}
# Of an epoch, that augmented, synthetic and related images have each.
SHARE = {10: 0.3, 100: 0.2, 1000: 0.1}
MADE = {10: 1000, 100: 3000, 1000: 3000}  # augmented or synthetic images
JITTER = {
    "mnist": {"shift": 2, "rotate": 12, "zoom": 0.12, "shear": 12, "elastic": 0.6},
    "fashion-mnist": {"flip": True, "shift": 2, "zoom": 0.15, "mixup": 1.0, "cutmix": 1.0},
}
POLICY = {"mnist": "digits", "fashion-mnist": "objects"}
RECIPE = {
    "model": "fast",
    "width": 0.5,
    "activation": "silu",
    "epochs": 1,
    "batch_size": 128,
    "lr": 0.1,
    "weight_decay": 0.05,
    "label_smoothing": 0.1,
    "ema": 0.99,
}


@dataclass(frozen=True)
class Job:
    name: str  # of the data set
    arm: str
    count: int
    draw: int
    rehearsal: bool  # judged on images held out of the train set: test stays unread


@cache
def parts(name: str, rehearsal: bool) -> tuple[Samples, Samples, Samples]:
    """What draws are made of, what the best arm is chosen by, and what is judged on."""
    train, test = load(name)
    order = generator(0, "held-out").permutation(len(train))
    judged = _some(train, order[CHOOSING:HELD_OUT]) if rehearsal else test
    return _some(train, order[HELD_OUT:]), _some(train, order[:CHOOSING]), judged


@cache
def code() -> str:
    """A fingerprint of our own code: what older code gave counts no longer."""
    modules = [
        *sorted(Path(imagetrail.__file__).parent.rglob("*.py")),
        Path(__file__),
        HERE / "article_keras_few.py",
        HERE / "article_network.py",
    ]
    return hashlib.blake2b(
        b"".join(path.read_bytes() for path in modules), digest_size=6
    ).hexdigest()


def _some(whole: Samples, chosen: np.ndarray) -> Samples:
    return Samples(whole.images[chosen], whole.index.take(chosen), whole.classes)


def drawn(job: Job) -> Samples:
    pool = parts(job.name, job.rehearsal)[0]
    order = generator(job.draw, "draw", job.name, job.count).permutation(len(pool))
    return _some(
        pool,
        np.concatenate([order[pool.labels[order] == label][: job.count] for label in range(10)]),
    )


def article(name: str, counts: tuple[int, ...], draws: int, rehearsal: bool) -> dict[str, float]:
    """Top-1 of the article's network, by `count-draw`."""
    judged = parts(name, rehearsal)[2]
    numbers = {
        f"{count}-{draw}": np.array(
            drawn(Job(name, "article", count, draw, rehearsal)).column("id"), int
        )
        for count, draw in product(counts, range(draws))
    }
    path = CACHE / f"few-{name}.npz"
    np.savez(path, x_judged=judged.images, y_judged=judged.labels, **numbers)
    return keras("article_keras_few.py", str(arrays(name)), str(path))


def top1(job: Job) -> dict[str, float]:
    """On the images that choose the best arm, and on those judged on."""
    train, (_, *judged) = drawn(job), parts(job.name, job.rehearsal)
    by_related = job.arm in ("related", "all")
    others = [make(job, train) for arm, make in MAKERS.items() if job.arm in (arm, "all")]
    if by_related and job.name == "fashion-mnist":
        answers = probe(job, train, others)
    else:
        answers = learn(job, train, [*others, digits()] if by_related else others)
    right = [
        answer.argmax(1) == samples.labels for answer, samples in zip(answers, judged, strict=True)
    ]
    return {"valid": float(right[0].mean()), "test": float(right[1].mean())}


# ---- more images ----


def augmented(job: Job, train: Samples) -> Samples:
    transform = policy.build(POLICY[job.name], train.images.shape[1:])
    rng = generator(job.draw, "groups")
    rounds = [rng.permutation(len(train)) for _ in range(-(-MADE[job.count] // len(train)))]
    chosen = np.concatenate(rounds)[: MADE[job.count]]
    images = policy.draw(transform, train.images[chosen], group=8, seed=job.draw, copy=0)
    return _made(images, train.labels[chosen], "augmented")


def synthetic(job: Job, train: Samples) -> Samples:
    model, each = SYNTHESISERS["warp"](train, epochs=0, seed=job.draw), MADE[job.count] // 10
    images = [model.sample(label, each, seed=job.draw) for label in range(10)]
    return _made(np.concatenate(images), np.repeat(np.arange(10), each), "synthetic")


MAKERS = {"augmented": augmented, "synthetic": synthetic}


@cache
def digits() -> Samples:
    """scikit-learn's, drawn as in MNIST: 20 pixels high, sharp, centre of mass in the middle."""
    if not (CACHE / "digits").exists():
        datasets.fetch("digits", CACHE / "digits")
    pictures = datasets.read("digits", CACHE / "digits")
    images = np.zeros((len(pictures), 28, 28, 1), np.uint8)
    readable = pictures.readable(range(len(pictures)), Target((8, 8, 1)))
    for image, small in zip(images, readable, strict=True):
        large = cv2.resize(small, (20, 20), interpolation=cv2.INTER_CUBIC).astype(float)
        image[4:24, 4:24, 0] = ((large - 64) * 2).clip(0, 255)
        mass = cv2.moments(image)
        away = [round(14 - mass[moment] / mass["m00"]) for moment in ("m01", "m10")]
        image[:] = np.roll(image, away, (0, 1))
    return _made(images, pictures.labels, "related")


def _made(images: np.ndarray, labels: np.ndarray, origin: str) -> Samples:
    ids = [f"{origin}/{number}" for number in range(len(labels))]
    index = make_index(ids=ids, labels=labels, origin=origin, sources=ids)
    return Samples(images, index, tuple(str(label) for label in range(10)))


# ---- ways to learn: each yields answers to the images that choose the best arm, and to test ----


def learn(job: Job, train: Samples, others: list[Samples]) -> Iterator[np.ndarray]:
    """A network from scratch."""
    jitter, steps = JITTER[job.name], STEPS[job.count]
    if job.arm == "plain":  # images that never change are known sooner
        jitter, steps = {}, steps // 2
    recipe = Recipe(**RECIPE, **jitter, repeat_to=steps * RECIPE["batch_size"])
    begun = loop.start(recipe, train, seed=job.draw)
    mixed = Mixture(
        train, tuple((other, SHARE[job.count]) for other in others), repeat_to=recipe.repeat_to
    )
    for _ in loop.fit(begun, mixed, _some(train, np.arange(10))):
        pass
    change = replace(Jitter.of(recipe), cutout=0, mixup=0.0, cutmix=0.0)
    for samples in parts(job.name, job.rehearsal)[1:]:
        changed = [_changed(samples, change, seed) for seed in range(VIEWS if jitter else 0)]
        views = [samples, *changed]
        yield sum(inference.predict(begun.outcome, view).softmax(1).numpy() for view in views)


def _changed(samples: Samples, jitter: Jitter, seed: int) -> Samples:
    changed = []
    for chunk in samples.chunks(1000):
        mirrored = torch.arange(len(chunk)) % 2 == seed % 2
        images, none = torch.from_numpy(chunk), torch.empty(0)
        changed.append(jitter(images, none, mirrored, classes=0, seed=seed)[0])
    return Samples(torch.cat(changed).numpy(), samples.index, samples.classes)


def probe(job: Job, train: Samples, others: list[Samples]) -> Iterator[np.ndarray]:
    """A new last layer for a network that knows ImageNet; sees a picture and its mirror image."""
    sources = [train, *others]
    if len(train) <= MIRRORED:
        sources.insert(1, _made(train.images[:, :, ::-1], train.labels, "mirrored"))
    seen = np.concatenate([features(source.images) for source in sources])
    centre, spread = seen.mean(0), seen.std(0) + 0.01
    labels = np.concatenate([source.labels for source in sources])
    with warnings.catch_warnings():
        # What more iterations would change is too little to see.
        warnings.simplefilter("ignore", ConvergenceWarning)
        head = LogisticRegression(C=0.01, max_iter=100).fit((seen - centre) / spread, labels)
    for part in (1, 2):
        paths = [keep_features(job.name, part, mirror, job.rehearsal) for mirror in (False, True)]
        yield sum(head.predict_proba((np.load(path) - centre) / spread) for path in paths)


def keep_features(name: str, part: int, mirror: bool, rehearsal: bool) -> str:
    """Of images that all draws are judged on, once; returns the file."""
    kind = f"{part} {'rehearsal' if rehearsal else 'test'} {'mirrored' if mirror else ''}"
    path = CACHE / "scarcity" / f"features {name} {kind} {code()}.npy".replace(" ", "-")
    if not path.exists():
        images = parts(name, rehearsal)[part].images
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, features(images[:, :, ::-1] if mirror else images))
    return str(path)


@torch.no_grad()
def features(images: np.ndarray) -> np.ndarray:
    """N×D float32: what the head of EfficientNet-Lite0 sees."""
    model = trunk()
    chunks = (torch.from_numpy(images[at : at + 100].copy()) for at in range(0, len(images), 100))
    return np.concatenate([model.features(chunk).numpy() for chunk in chunks])


@cache
def trunk() -> classifier.Classifier:
    lite0 = {"model": "efficientnet_lite0", "width": 1.0, "activation": "relu6"}
    recipe, weights = Recipe(**(RECIPE | lite0)), read(IMAGENET, "efficientnet_lite0")
    return loop.start(recipe, load("fashion-mnist")[0], seed=0, pretrained=weights).model.eval()
