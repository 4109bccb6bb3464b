"""The command line: a subcommand a stage, and what goes with them.

It turns every foreseeable fault into one line.
"""

import atexit
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from imagetrail.base.errors import UserError
from imagetrail.base.words import count_of
from imagetrail.cli.drift import drift
from imagetrail.cli.import_labels import import_labels
from imagetrail.cli.init import init
from imagetrail.cli.predict import predict
from imagetrail.cli.review import review
from imagetrail.cli.stage import Interrupted, run_stage
from imagetrail.cli.suggest import suggest
from imagetrail.compute.processes import end_with_parent

STAGES = {
    "fetch": "Bring the pictures in, verified.",
    "inspect": "Say what is in the data and what is wrong with it.",
    "split": "Part train, valid and test.",
    "weights": "Bring a network of the hub in, verified.",
    "pretrain": "Learn from related data sets first.",
    "audit": "Find labels that are wrong.",
    "augment": "Make more of the training images.",
    "synthesise": "Draw new images of every class.",
    "tune": "Search for a good recipe.",
    "compare": "Compare alternatives over several seeds, and judge the remedies for scarce data.",
    "train": "Train the model.",
    "crossvalidate": "Judge the recipe on every picture once, where they are few.",
    "evaluate": "Judge the model on test.",
    "explain": "Show where the model looks.",
    "export": "Write ONNX files, float32 and int8.",
    "gate": "Decide whether the model may ship.",
    "report": "Write the report.",
}

STOPPED = "stopped; nothing half-written is left, run the same command again to go on"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=(__doc__ or "").split(":")[0],
)


def main() -> None:
    """Entry point; exits 0 if all went well, 1 for a user's mistake, 130 or 143 if interrupted."""
    # Threads that spin long while they wait take the core from those that work, once anything else
    # runs on the machine; those that never spin wake too late for small layers.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # Pixels of large pictures come from the system and go back to it: in Pillow's blocks of 16 MB
    # each thread would keep those of its largest.
    os.environ.setdefault("PILLOW_BLOCK_SIZE", "64m")
    # At exit, a last search for cycles among all that torch has loaded would take over a second.
    atexit.register(gc.freeze)
    # What Pillow says of an odd picture names no file: what cannot be read is named by us.
    warnings.filterwarnings("ignore", module="PIL")
    signal.signal(signal.SIGTERM, _terminated)
    if {"DVC_STAGE", "TORCHELASTIC_RUN_ID"} & os.environ.keys():  # started by dvc repro or torchrun
        end_with_parent(signal.SIGTERM)
    try:
        app()
    except UserError as error:
        lines = str(error).splitlines()
        _fail("\n".join(line if line.startswith(" ") else f"error: {line}" for line in lines), 1)
    except OSError as error:
        _fail(f"error: {error.filename or 'input/output'}: {error.strerror or error}", 1)
    except Interrupted:
        _fail(STOPPED, 130)


def _terminated(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # another one must not interrupt what is now cleaned up
    _fail(STOPPED, 128 + number)


def _fail(text: str, code: int) -> None:
    print(text, file=sys.stderr)
    sys.exit(code)


def _command(name: str) -> Callable[[], None]:
    def command() -> None:
        run_stage(name)

    return command


app.command()(init)
for _name, _help in STAGES.items():
    app.command(_name, help=_help)(_command(_name))


@app.command()
def publish() -> None:
    """Make MLflow agree with dvc.lock; a second call changes nothing."""
    from imagetrail.tracking import opening
    from imagetrail.tracking import publish as publishing
    from imagetrail.tracking import ui as pages

    done = publishing.publish()
    made = count_of(done.made, "new run")
    print(f"pipeline {done.version[:7]} is in MLflow ({made}): {opening.shown(Path())}")
    print(pages.where(done.experiment, done.run, done.champion))


@app.command()
def promote(
    force: Annotated[
        str | None, typer.Option(metavar="REASON", help="Whatever the gate says.")
    ] = None,
) -> None:
    """Make the challenger the champion, if the gate says PROMOTE."""
    from imagetrail.release import promotion

    entry = promotion.promote(reason=force)
    print(
        f"champion: {entry.model[:12]}, number {entry.number} of the ledger"
        if entry
        else "nothing to do: it is the champion"
    )
    _follow()


@app.command()
def rollback(
    number: Annotated[
        int | None, typer.Argument(help="Line of the ledger; default: the champion before.")
    ] = None,
) -> None:
    """Make an earlier champion the champion again."""
    from imagetrail.release import promotion

    entry, changed = promotion.rollback(number=number)
    before = "" if changed else ", as before"
    print(f"champion: {entry.model[:12]}, number {entry.number} of the ledger{before}")
    _follow()


def _follow() -> None:
    """MLflow's alias, which may come later."""
    from imagetrail.tracking import publish as publishing

    try:
        publishing.follow()
    except UserError as error:
        catch_up = "the champion is the champion all the same, `imagetrail publish` catches up"
        print(f"warning: {error}; {catch_up}", file=sys.stderr)


@app.command()
def recall() -> None:
    """Begin with what the last retraining found, merged or not."""
    from imagetrail.release import pull_request

    print(pull_request.recall())


@app.command()
def propose() -> None:
    """Commit new results and, on PROMOTE, the new champion to the branch `retrain`."""
    from imagetrail.release import pull_request

    print(pull_request.propose())


@app.command()
def verify(
    reproduce: Annotated[
        bool, typer.Option("--reproduce", help="Run the last commit in a second clone instead.")
    ] = False,
    tolerance: Annotated[float | None, typer.Option(help="Compare numbers, not bytes.")] = None,
) -> None:
    """Re-hash data, cache, models and champion, and say what is damaged and how to heal it."""
    from imagetrail.release import git_dvc, reproduction, verification

    if reproduce:
        count, different = reproduction.reproduce(tolerance=tolerance)
        if different:
            _fail("\n".join(different), 1)
        within = "" if tolerance is None else f" within {tolerance:g}"
        print(f"{count} results are the same{within}")
        return
    found = verification.verify(Path(), git_dvc.cache_folder(Path()))
    if found:
        _fail("\n".join(map(str, found)), 1)
    print("every byte is what dvc.lock, DVC's cache and the ledger say")


@app.command()
def schema() -> None:
    """Accept what inspect saw: new pictures are held against it from now on."""
    from imagetrail.base import paths
    from imagetrail.base.params import read_yaml
    from imagetrail.stages.inspect.schema import accept

    read_yaml(Path("params.yaml"))  # tells that this is no folder of a project
    seen = accept()
    print(f"{paths.SCHEMA}: {len(seen.classes)} classes of {seen.data}; commit it")


@app.command("params")
def check_params() -> None:
    """Check every section of params.yaml at once."""
    from imagetrail.cli.params import SECTIONS, check_all

    check_all()
    print(f"params.yaml: all {len(SECTIONS)} sections are valid")


@app.command()
def ui(port: Annotated[int, typer.Option(help="The first port to try.")] = 5000) -> None:
    """Open the MLflow UI on this machine only."""
    from imagetrail.tracking.ui import serve

    serve(port)


app.command("import")(import_labels)
for _use in (predict, drift, review, suggest):
    app.command()(_use)
