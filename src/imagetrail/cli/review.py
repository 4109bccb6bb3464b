"""`imagetrail review`: a page on which people mend labels by a key."""

import subprocess
import tempfile
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from imagetrail.base.terminal import say


def review(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The first one to try.")] = 5080,
    by: Annotated[str | None, typer.Option(help="Who decides; default: git's user.name.")] = None,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page.")] = True,
) -> None:
    """Open a page of what is doubtful in the data; a key writes data/corrections.csv."""
    from imagetrail.base import paths
    from imagetrail.base.params import load
    from imagetrail.base.words import count_of
    from imagetrail.data import arrival
    from imagetrail.data.params import Data
    from imagetrail.review.desk import Desk
    from imagetrail.review.server import Server

    data = load(Data, "data")
    desk = Desk(data, arrival.originals(data), by=_git_name() if by is None else by)
    before = len(desk.decisions.current())
    with Server(desk, port) as server, ExitStack() as stack:
        desk.nearest.start()
        say(f"review: {server.address}  (Ctrl-C ends it)")
        if browser:  # by a file that nobody else may read: a command's words are seen by all
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imagetrail-")))
            page = folder / "review.html"
            page.write_text(f'<meta http-equiv="refresh" content="0;url={server.address}">')
            webbrowser.open(page.as_uri())
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            count = len(desk.decisions.current())
            rows = count_of(count, "row")
            say("", f"{paths.CORRECTIONS}: {rows}, {count - before} more than before")


def _git_name() -> str:
    try:
        done = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True)
    except FileNotFoundError:  # no git here
        return ""
    return done.stdout.strip()
