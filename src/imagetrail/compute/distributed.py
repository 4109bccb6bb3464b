"""Several processes train one model: torchrun starts them, and this joins them.

Alone, a process is rank 0 of 1.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from imagetrail.base.errors import UserError

T = TypeVar("T")


@contextmanager
def joined() -> Iterator[None]:
    """Within the block, the processes that torchrun has started know each other."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # After a restart torchrun's store still has the addresses of processes that are gone, and
        # connecting to them hangs. Hosts may count restarts differently; there
        # TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 gives a new store.
        store = PrefixStore(f"attempt-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def ranks() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def shared(value: T) -> T:
    """The value that rank 0 has; what the others give does not matter."""
    if ranks() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def refuse_others(facts: Mapping[str, object]) -> None:
    """Raises UserError in each process if one of them has other facts than the first has."""
    if ranks() == 1:
        return
    first = shared(facts)
    found: list[set[str]] = [set()] * ranks()
    mine = {name for name in first.keys() | facts if first.get(name) != facts.get(name)}
    distributed.all_gather_object(found, mine)
    if wrong := sorted(set().union(*found)):
        raise UserError(
            f"the hosts do not have the same {', '.join(wrong)}; bring all to one state with "
            "`git checkout` and `dvc pull`"
        )


def total(value: float) -> float:
    """The sum over all processes."""
    if ranks() == 1:
        return value
    device = "cuda" if torch.cuda.is_available() else "cpu"
    summed = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(summed)
    return summed.item()


def synchronised(model: nn.Module) -> nn.Module:
    """The model, with gradients averaged over all processes in each backward pass."""
    return model if ranks() == 1 else nn.parallel.DistributedDataParallel(model)
