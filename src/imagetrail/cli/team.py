"""Commands for what people share: MLflow, the champion and its ledger, proposals, integrity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from imagetrail.base.errors import UserError
from imagetrail.base.terminal import say
from imagetrail.base.words import count_of


def publish() -> None:
    """Make MLflow agree with dvc.lock; a second call changes nothing."""
    from imagetrail.tracking import opening
    from imagetrail.tracking import publish as publishing
    from imagetrail.tracking import ui as pages

    done = publishing.publish()
    made = count_of(done.made, "new run")
    say(f"pipeline {done.version[:7]} is in MLflow ({made}): {opening.shown(Path())}")
    say(pages.where(done.experiment, done.run, done.champion))


def promote(
    force: Annotated[
        str | None, typer.Option(metavar="REASON", help="Whatever the gate says.")
    ] = None,
) -> None:
    """Make the challenger the champion, if the gate says PROMOTE."""
    from imagetrail.release import promotion

    entry = promotion.promote(reason=force)
    say(
        f"champion: {entry.model[:12]}, number {entry.number} of the ledger"
        if entry
        else "nothing to do: it is the champion"
    )
    _follow()


def rollback(
    number: Annotated[
        int | None, typer.Argument(help="Line of the ledger; default: the champion before.")
    ] = None,
) -> None:
    """Make an earlier champion the champion again."""
    from imagetrail.release import promotion

    entry, changed = promotion.rollback(number=number)
    before = "" if changed else ", as before"
    say(f"champion: {entry.model[:12]}, number {entry.number} of the ledger{before}")
    _follow()


def _follow() -> None:
    """MLflow's alias, which may come later."""
    from imagetrail.tracking import publish as publishing

    try:
        publishing.follow()
    except UserError as error:
        catch_up = "the champion is the champion all the same, `imagetrail publish` catches up"
        say(f"warning: {error}; {catch_up}", error=True)


def recall() -> None:
    """Begin with what the last retraining found, merged or not, and what DVC's remote has."""
    from imagetrail.release import pull_request, remotes

    say(pull_request.recall())
    if came := remotes.pull():
        say(came)


def propose() -> None:
    """Commit new results and, on PROMOTE, the new champion to the branch `retrain`."""
    from imagetrail.release import pull_request

    say(pull_request.propose())


def offer(
    option: Annotated[
        list[str] | None, typer.Option("-o", metavar="OPTION", help="Of git's push, as GitLab has.")
    ] = None,
) -> None:
    """Push what was proposed, and what DVC has of it; give way to a newer proposal."""
    from imagetrail.release import remotes

    say(remotes.offer(options=option or ()))


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
        _end_if(different)
        within = "" if tolerance is None else f" within {tolerance:g}"
        say(f"{count} results are the same{within}")
        return
    found = verification.verify(Path(), git_dvc.cache_folder(Path()))
    _end_if([str(finding) for finding in found])
    say("every byte is what dvc.lock, DVC's cache and the ledger say")


def _end_if(faults: Sequence[str]) -> None:
    if faults:
        say(*faults, error=True)
        raise typer.Exit(1)


def ui(port: Annotated[int, typer.Option(help="The first port to try.")] = 5000) -> None:
    """Open the MLflow UI on this machine only."""
    from imagetrail.tracking.ui import serve

    serve(port)
