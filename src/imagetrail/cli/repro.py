"""`imagetrail repro`: `dvc repro` that is checked before, and stopped as a whole."""

import sys
from pathlib import Path

import typer


def repro(words: typer.Context) -> None:
    """Check params.yaml, then run what is out of date; takes the words of `dvc repro`."""
    from imagetrail.cli.params import check_all
    from imagetrail.release import git_dvc

    check_all()
    if code := git_dvc.stoppable(Path(), "repro", *words.args):
        sys.exit(code)
