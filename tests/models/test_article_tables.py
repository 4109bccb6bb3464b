"""The tables and figures of docs/article.md are those of the network and of the benchmarks."""

import re

import torch
from article import SPEC
from project import ROOT
from torch import nn

from imagetrail.models.classifier import Classifier
from imagetrail.models.layers import Crop, Flatten

PAGE = (ROOT / "docs/article.md").read_text()


def layers(model: Classifier) -> list[tuple[str, int]]:
    """Shape and parameters of each layer in the table of the page, written as there."""
    rows = []

    def note(layer: nn.Module, _: object, features: torch.Tensor) -> None:
        channels, *sides = features.shape[1:]
        shape = "×".join(map(str, [*sides, f"{channels:,}"]))
        rows.append((shape, sum(weight.numel() for weight in layer.parameters())))

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | Flatten | nn.Linear):
            layer.register_forward_hook(note)
    model(torch.zeros(1, 28, 28, 1))
    return rows


def test_the_table_of_layers_is_true() -> None:
    model, uncropped = Classifier(SPEC), Classifier(SPEC)
    (crop,) = (layer for layer in uncropped.modules() if isinstance(layer, Crop))
    crop.height = crop.width = 28
    section = PAGE.split("\n## ")[1]
    _, _, *rows, total = (
        line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line
    )
    table = [(keras, here, int(count.replace(",", ""))) for _, keras, here, count in rows]
    assert [(here, count) for _, here, count in table] == layers(model)
    assert [(keras, count) for keras, _, count in table] == layers(uncropped)
    assert total[-1] == f"{sum(count for *_, count in table):,}"


def test_figures_of_the_page_are_those_of_the_benchmarks() -> None:
    measured = (ROOT / "benchmarks" / "README.md").read_text()
    _, questions = PAGE.split("\n## The article's questions")
    figures = re.findall(r"\d\d\.\d\d %|\d\d+,\d{3}", questions)
    assert len(figures) > 20
    printed = re.sub(r"(?<=\d)%", " %", measured)
    assert [figure for figure in figures if figure not in printed] == []
