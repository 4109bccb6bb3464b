"""What a network costs to keep and to run: a search may bound it, or weigh it against accuracy."""

import time
from collections.abc import Callable, Iterable
from statistics import median

import torch

from imagetrail.models.classifier import Classifier, card


def model_bytes(model: Classifier) -> float:
    """Of its tensors as they are saved."""
    return float(sum(tensor.nbytes for tensor in model.state_dict().values()))


@torch.no_grad()
def latency_ms(model: Classifier, *, repeats: int = 20) -> float:
    """Milliseconds a picture, alone, on one thread, by the clock: never twice the same."""
    spec, threads = model.spec, torch.get_num_threads()
    picture = torch.zeros(1, *spec.shape, dtype=torch.uint8)
    model = model.cpu().eval()
    torch.set_num_threads(1)
    times = []
    for _ in range(repeats):
        before = time.perf_counter()
        model(picture)
        times.append(time.perf_counter() - before)
    torch.set_num_threads(threads)
    return 1000 * median(times)


COSTS: dict[str, Callable[[Classifier], float]] = {
    "flops_forward": lambda model: card(model)["flops_forward"],
    "latency_ms": latency_ms,
    "model_bytes": model_bytes,
    "parameters": lambda model: card(model)["parameters"],
}


def costs(model: Classifier, names: Iterable[str]) -> dict[str, float]:
    return {name: float(COSTS[name](model)) for name in names}
