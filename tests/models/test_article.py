"""The blocks of docs/article.md are run as they stand: NumPy and PyTorch must give the same."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from article import SPEC
from numpy.random import Generator
from numpy.typing import NDArray
from project import ROOT
from scipy.signal import convolve2d
from torch import nn

from imagetrail.models.classifier import Classifier

PAGE = (ROOT / "docs/article.md").read_text()


def run_blocks() -> dict[str, Any]:
    """What the page's Python blocks define; other lines become blank, so that line numbers hold."""
    lines, inside = [], False
    for line in PAGE.splitlines():
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        inside = line == "```python" if fence else inside
    defined: dict[str, Any] = {}
    exec(compile("\n".join(lines), "docs/article.md", "exec"), defined)
    return defined


BLOCKS = run_blocks()
PAIRS = [name.removesuffix("_numpy") for name in BLOCKS if name.endswith("_numpy")]
Cases = Iterator[tuple[Any, ...]]


def conv_cases(rng: Generator) -> Cases:
    for n, c, o, height, width, k, stride in [
        (1, 1, 1, 3, 3, 3, 1),
        (2, 1, 32, 28, 28, 3, 1),
        (3, 3, 4, 7, 10, 3, 2),
        (2, 5, 2, 11, 8, 2, 3),
        (1, 2, 3, 9, 9, 1, 2),
    ]:
        x, w = rng.normal(size=(n, c, height, width)), rng.normal(size=(o, c, k, k))
        yield x, w, rng.normal(size=o), stride


def article_conv_cases(rng: Generator) -> Cases:
    for height, width, rows, columns in [(3, 3, 3, 3), (5, 8, 2, 3), (9, 4, 1, 4)]:
        yield rng.normal(size=(height, width)), rng.normal(size=(rows, columns))


def pool_cases(rng: Generator) -> Cases:
    for shape, size, stride in [
        ((1, 1, 2, 2), 2, 2),
        ((2, 3, 11, 11), 2, 2),
        ((3, 2, 7, 10), 3, 2),
        ((1, 4, 9, 6), 3, 3),
        ((2, 1, 8, 8), 2, 3),
    ]:
        yield rng.normal(size=shape), size, stride
        yield np.maximum(rng.normal(size=shape), 0), size, stride  # after relu many are equal


def activation_cases(rng: Generator) -> Cases:
    yield (np.array([-3.0, -0.0, 0.0, 1e-9, 3.0]),)
    yield (3 * rng.normal(size=(4, 3, 5, 7)),)


def dense_cases(rng: Generator) -> Cases:
    for n, into, out in [(1, 1, 1), (5, 7, 3), (32, 1600, 64)]:
        yield rng.normal(size=(n, into)), rng.normal(size=(out, into)), rng.normal(size=out)


def loss_cases(rng: Generator) -> Cases:
    for n, classes, scale in [(1, 2, 1), (7, 10, 5), (3, 4, 1000)]:
        yield scale * rng.normal(size=(n, classes)), rng.integers(classes, size=n)


def softmax_cases(rng: Generator) -> Cases:
    return ((z,) for z, _ in loss_cases(rng))


def network_cases(rng: Generator) -> Cases:
    for side, images, classes in [(10, 1, 2), (28, 3, 10)]:
        pixels = 16 * (((side - 2) // 2 - 2) // 2) ** 2
        weights = []
        for shape in [(8, 1, 3, 3), (16, 8, 3, 3), (12, pixels), (classes, 12)]:
            weights.append(rng.normal(size=shape) / math.prod(shape[1:]) ** 0.5)
            weights.append(rng.normal(size=shape[0]))
        x = rng.normal(size=(images, 1, side, side))
        yield x, rng.integers(classes, size=images), *weights


def descent_cases(rng: Generator) -> Cases:
    for shape, steps in [((1,), 1), ((4, 3), 50)]:
        yield rng.normal(size=shape), rng.normal(size=(steps, *shape)), 0.03


def backward(name: str, cases: Callable[[Generator], Cases], arrays: int) -> Any:
    """The cases of a layer, with a gradient by its result after its first `arrays` arguments."""

    def with_gradient(rng: Generator) -> Cases:
        for case in cases(rng):
            gradient = rng.normal(size=BLOCKS[f"{name}_numpy"](*case).shape)
            yield *case[:arrays], gradient, *case[arrays:]

    return with_gradient


CASES: dict[str, Callable[[Generator], Cases]] = {
    "conv": conv_cases,
    "article_conv": article_conv_cases,
    "max_pool": pool_cases,
    "average_pool": pool_cases,
    "relu": activation_cases,
    "sigmoid": activation_cases,
    "tanh": activation_cases,
    "dense": dense_cases,
    "softmax": softmax_cases,
    "cross_entropy": loss_cases,
    "cross_entropy_backward": loss_cases,
    "dense_backward": backward("dense", dense_cases, 3),
    "relu_backward": backward("relu", activation_cases, 1),
    "sigmoid_backward": backward("sigmoid", activation_cases, 1),
    "tanh_backward": backward("tanh", activation_cases, 1),
    "conv_backward": backward("conv", conv_cases, 3),
    "max_pool_backward": backward("max_pool", pool_cases, 1),
    "network": network_cases,
    "descent": descent_cases,
    "adam": descent_cases,
}


def as_tensor(argument: Any) -> Any:
    if not isinstance(argument, np.ndarray):
        return argument
    return torch.tensor(argument, requires_grad=argument.dtype == np.float64)


def as_arrays(answer: Any) -> list[NDArray[np.float64]]:
    parts = answer if isinstance(answer, tuple) else (answer,)
    return [part.detach().numpy() if torch.is_tensor(part) else np.asarray(part) for part in parts]


def test_every_function_of_the_page_has_both_forms_and_cases() -> None:
    torch_forms = [name.removesuffix("_torch") for name in BLOCKS if name.endswith("_torch")]
    assert set(PAIRS) == set(torch_forms) == set(CASES)


@pytest.mark.parametrize("name", PAIRS)
def test_numpy_and_torch_agree(name: str) -> None:
    for case in CASES[name](np.random.default_rng(0)):
        ours = as_arrays(BLOCKS[f"{name}_numpy"](*case))
        theirs = as_arrays(BLOCKS[f"{name}_torch"](*map(as_tensor, case)))
        assert [part.shape for part in ours] == [part.shape for part in theirs]
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


SQUARE = np.arange(1.0, 10.0).reshape(3, 3)  # 1 2 3, 4 5 6, 7 8 9
DIAGONAL = np.array([[1.0, 0.0], [0.0, -1.0]])
ONE_BATCH = (1, 1, 3, 3)
LN2, LN3 = math.log(2), math.log(3)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("conv", (SQUARE.reshape(ONE_BATCH), DIAGONAL[None, None], np.array([0.5])), [-3.5] * 4),
        ("article_conv", (SQUARE, DIAGONAL), [4] * 4),
        ("max_pool", (SQUARE.reshape(ONE_BATCH), 2, 1), [5, 6, 8, 9]),
        ("max_pool", (SQUARE.reshape(ONE_BATCH), 2, 2), [5]),
        ("average_pool", (SQUARE.reshape(ONE_BATCH), 2, 1), [3, 4, 6, 7]),
        ("sigmoid", (np.array([0, LN3]),), [0.5, 0.75]),
        ("tanh", (np.array([0, LN2]),), [0, 0.6]),
        ("dense", (np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([5.0])), [16]),
        ("softmax", (np.log([[1.0, 2.0, 5.0]]),), [1 / 8, 2 / 8, 5 / 8]),
        ("cross_entropy", (np.log([[1.0, 2.0, 5.0]]), np.array([1])), 2 * LN2),
        ("cross_entropy_backward", (np.log([[1.0, 3.0]]), np.array([0])), [-0.75, 0.75]),
        ("sigmoid_backward", (np.zeros(1), np.ones(1)), [0.25]),
        ("max_pool_backward", (np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1)), 2, 2), [1, 0, 0, 0]),
        ("descent", (np.array([1.0]), np.array([[2.0], [-4.0]]), 0.1), [1.2]),
        ("adam", (np.array([1.0]), np.array([[70.0]]), 0.1), [0.9]),
    ],
)
@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_both_forms_give_what_one_computes_by_hand(
    name: str, arguments: tuple[Any, ...], expected: Any, form: str
) -> None:
    if form == "torch":
        arguments = tuple(map(as_tensor, arguments))
    (answer,) = as_arrays(BLOCKS[f"{name}_{form}"](*arguments))
    np.testing.assert_allclose(answer.ravel(), expected, rtol=1e-7)


def test_the_articles_convolution_is_that_of_mathematics() -> None:
    for x, w in article_conv_cases(np.random.default_rng(1)):
        np.testing.assert_allclose(BLOCKS["article_conv_numpy"](x, w), convolve2d(x, w, "valid"))


def test_the_network_of_the_page_is_that_of_the_project() -> None:
    torch.manual_seed(0)
    model = Classifier(SPEC).double()
    images = torch.randint(0, 256, (4, 28, 28, 1), dtype=torch.uint8)
    labels = torch.tensor([3, 1, 4, 1])
    loss = nn.functional.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    weights = [weight.detach().numpy() for weight in model.parameters()]
    x = images.double().permute(0, 3, 1, 2).numpy()
    answer = BLOCKS["network_numpy"](x, labels.numpy(), *weights)
    for ours, theirs in zip(as_arrays(answer), as_arrays((loss, *gradients)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
