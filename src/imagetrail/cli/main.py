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
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from imagetrail.base.errors import UserError
from imagetrail.base.terminal import say
from imagetrail.cli.demo import demo
from imagetrail.cli.doctor import doctor
from imagetrail.cli.drift import drift
from imagetrail.cli.import_labels import import_labels
from imagetrail.cli.init import init
from imagetrail.cli.place import refuse_place
from imagetrail.cli.predict import predict
from imagetrail.cli.repro import repro
from imagetrail.cli.review import review
from imagetrail.cli.serve import serve
from imagetrail.cli.stage import Interrupted, run_stage
from imagetrail.cli.status import status
from imagetrail.cli.suggest import suggest
from imagetrail.cli.team import offer, promote, propose, publish, recall, rollback, ui, verify
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

IN_ORDER = "Stages, which dvc repro runs in this order where they are out of date"
# they need no project around them
ANYWHERE = {"init", "import", "predict", "serve", "demo", "drift", "suggest"}

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


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
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows few letters is shown others
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _terminated)
    if {"DVC_STAGE", "TORCHELASTIC_RUN_ID"} & os.environ.keys():  # started by dvc repro or torchrun
        end_with_parent(signal.SIGTERM)
    try:
        _heal()
        app()
    except UserError as error:
        lines = str(error).split("\n")
        _fail(*(line if line.startswith(" ") else f"error: {line}" for line in lines), code=1)
    except OSError as error:
        _fail(f"error: {error.filename or 'input/output'}: {error.strerror or error}", code=1)
    except MemoryError:
        _fail("error: not enough memory; close other programs, or take a larger machine", code=1)
    except Interrupted:
        _fail(STOPPED, code=130)


def _heal() -> None:
    """What a kill of DVC has left torn is put back; a stage that DVC runs has DVC's word for it."""
    from imagetrail.release import lock_files

    if "DVC_STAGE" in os.environ:
        lock_files.keep(Path())
        return
    if sys.argv[1:2] == ["doctor"]:  # it does so itself, and goes on
        return
    say(*lock_files.heal(Path()), error=True)


def _terminated(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # another one must not interrupt what is now cleaned up
    _fail(STOPPED, code=128 + number)


def _fail(*lines: str, code: int) -> None:
    say(*lines, error=True)
    sys.exit(code)


def _version(asked: bool) -> None:
    if asked:
        say(f"imagetrail {version('imagetrail')}")
        raise typer.Exit


@app.callback(help="From labelled pictures to a model that is judged, explained and shipped.")
def _check(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand in ANYWHERE or "--help" in sys.argv:
        return
    if not Path("params.yaml").exists():
        begin = "run this in the folder of a project, or begin one: imagetrail init PICTURES"
        raise UserError(f"params.yaml: no such file in {Path.cwd()}; {begin}")
    if context.invoked_subcommand != "doctor":  # it tells this with all else
        refuse_place()


def _command(name: str) -> Callable[[], None]:
    def command() -> None:
        run_stage(name, STAGES[name])

    return command


def schema() -> None:
    """Accept what inspect saw: new pictures are held against it from now on."""
    from imagetrail.base import paths
    from imagetrail.stages.inspect.schema import accept

    seen = accept()
    say(f"{paths.SCHEMA}: {len(seen.classes)} classes of {seen.data}; commit it")


def check_params() -> None:
    """Check every section of params.yaml at once."""
    from imagetrail.cli.params import SECTIONS, check_all

    check_all()
    say(f"params.yaml: all {len(SECTIONS)} sections are valid")


COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Pipeline": {
        "init": init,
        "import": import_labels,
        "params": check_params,
        "doctor": doctor,
        "repro": repro,
        "status": status,
        "review": review,
        "schema": schema,
    },
    IN_ORDER: {name: _command(name) for name in STAGES},
    "Model": {
        "predict": predict,
        "serve": serve,
        "demo": demo,
        "drift": drift,
        "suggest": suggest,
    },
    "Team": {
        "publish": publish,
        "ui": ui,
        "promote": promote,
        "rollback": rollback,
        "verify": verify,
        "recall": recall,
        "propose": propose,
        "offer": offer,
    },
}
PASSES_ON = {"repro": {"allow_extra_args": True, "ignore_unknown_options": True}}
for _panel, _uses in COMMANDS.items():
    for _name, _use in _uses.items():
        app.command(
            _name,
            help=STAGES.get(_name),
            rich_help_panel=_panel,
            context_settings=PASSES_ON.get(_name),
        )(_use)
