"""Which share of the way a fine-tuning keeps."""

import torch
from torch import Tensor

from imagetrail.training import blends


def answers(labels: Tensor, right: list[float], sure: list[float]) -> Tensor:
    """Blends × images × 4: each has such a share of images right, at random, and is so sure."""
    rng = torch.Generator().manual_seed(0)
    rows = []
    for share, size in zip(right, sure, strict=True):
        wrong = torch.rand(len(labels), generator=rng) >= share
        shown = torch.where(wrong, (labels + 1) % 4, labels)
        rows.append(size * torch.nn.functional.one_hot(shown, 4).float())
    return torch.stack(rows)


def labels_of(count: int) -> Tensor:
    return torch.arange(count) % 4


def test_a_blend_that_is_right_more_often_is_best_however_unsure_it_is() -> None:
    labels = labels_of(400)
    shown = answers(labels, right=[0.8, 0.85, 0.95], sure=[3.0, 2.0, 1.0])
    raw = [torch.nn.functional.cross_entropy(logits, labels) for logits in shown]
    assert raw[2] > raw[0], "as it is, the loss of the unsure one is greater"
    assert blends.best(shown, labels) == 2


def test_the_head_alone_is_best_where_no_blend_is_told_apart_from_it() -> None:
    labels = labels_of(20)
    shown = answers(labels, right=[1.0, 1.0], sure=[1.0, 1.0])
    shown[0, 0] = shown[0, 0].roll(1)  # one of twenty is luck
    assert blends.best(shown, labels) == 0
    shown[0, :8] = shown[0, :8].roll(1, dims=-1)
    assert blends.best(shown, labels) == 1, "eight of twenty are not"


def test_a_single_image_leaves_the_head_alone() -> None:
    labels = labels_of(1)
    shown = answers(labels, right=[0.0, 1.0], sure=[1.0, 1.0])
    assert blends.best(shown, labels) == 0
    assert torch.equal(blends.by_other_half(shown, labels), shown[0])


def test_an_image_is_answered_by_the_blend_that_is_best_on_the_other_half() -> None:
    labels = labels_of(80)
    even = torch.arange(80) % 2 == 0
    wrong = answers(labels, right=[0.0], sure=[3.0])[0]
    right = answers(labels, right=[1.0], sure=[3.0])[0]
    on_even, on_odd = (torch.where(half[:, None], right, wrong) for half in (even, ~even))
    judged = blends.by_other_half(torch.stack([wrong, on_even, on_odd]), labels)
    assert not (judged.argmax(1) == labels).any()
