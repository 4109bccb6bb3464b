"""`imagetrail review`: a page on which people mend labels by a key."""

import subprocess
from typing import Annotated

import typer

KEPT = ".imagetrail/review"


def review(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The first port to try.")] = 5080,
    by: Annotated[str | None, typer.Option(help="Who decides; default: git's user.name.")] = None,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page.")] = True,
) -> None:
    """Open a page of what is doubtful in the data; a key writes data/corrections.csv."""
    import warnings
    import webbrowser
    from pathlib import Path

    from imagetrail.base import paths
    from imagetrail.base.params import load
    from imagetrail.data import arrival
    from imagetrail.data.params import Data
    from imagetrail.review import queues
    from imagetrail.review.decisions import Decisions
    from imagetrail.review.desk import Desk
    from imagetrail.review.nearest import Nearest
    from imagetrail.review.server import Server

    warnings.filterwarnings("ignore", module="PIL")
    data, kept = load(Data, "data"), Path(KEPT)
    pictures = arrival.originals(data)
    decisions = Decisions(paths.CORRECTIONS, lock=kept / "lock")
    before = len(decisions.current())
    nearest = Nearest(paths.ARTIFACTS / "export" / "model.onnx", paths.TRAIN, kept)
    desk = Desk(
        data.name,
        pictures,
        queues.read_all(pictures, data.name),
        queues.read_splits(pictures),
        decisions,
        nearest,
        target=data.target,
        by=_git_name() if by is None else by,
    )
    with Server(desk, port) as server:
        nearest.start()
        print(f"review: {server.address}  (Ctrl-C ends it)", flush=True)
        if browser:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            count = len(decisions.current())
            made = f"{count} corrections, {count - before} of them new"
            print(f"\n{paths.CORRECTIONS}: {made}; `dvc repro` takes them into account")


def _git_name() -> str:
    done = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True)
    return done.stdout.strip()
