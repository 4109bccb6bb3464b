"""The MLflow UI, on loopback only; and the addresses of pages there, or at a server."""

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from imagetrail.base.errors import UserError
from imagetrail.base.terminal import say
from imagetrail.tracking import ui_views
from imagetrail.tracking.opening import open_store, shown, uri

PORT = 5000  # the first that is tried


def where(experiment: str, run: str, champion: str | None) -> str:
    """One line: the address of a run, and of it beside the champion's run, if that is another."""
    address = shown(Path())
    is_server = address.startswith("http")
    server = address.rstrip("/") if is_server else f"http://127.0.0.1:{PORT}"
    line = f"this run: {server}/#/experiments/{experiment}/runs/{run}?{ui_views.PAGES}"
    if champion not in (None, run):
        line += f"  beside the champion: {server}/{beside(experiment, [run, champion])}"
    return line if is_server else f"{line}  (with `imagetrail ui`)"


def beside(experiment: str, runs: Sequence[str | None]) -> str:
    """The page that compares these runs, behind the address of the server."""
    which = {"runs": runs, "experiments": [experiment]}
    query = "&".join(f"{key}={quote(json.dumps(value))}" for key, value in which.items())
    return f"#/compare-runs?{query}&{ui_views.PAGES}"


def serve(first: int) -> None:
    """Replaces this process with MLflow's server on the first free port from `first` on."""
    if uri(Path()).startswith("http"):
        raise UserError(f"MLFLOW_TRACKING_URI is a server already: open {shown(Path())}")
    port = next((port for port in range(first, first + 20) if _free(port)), None)
    if port is None:
        raise UserError(f"no free port from {first} to {first + 19}; choose another with --port")
    runs = ui_views.address(open_store(Path()).experiment, ui_views.FIRST)
    say(f"MLflow UI: http://127.0.0.1:{port}/{runs}  (Ctrl-C ends it)")
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    options = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
        "--backend-store-uri": uri(Path()),
        "--default-artifact-root": f"file://{Path('mlartifacts').resolve()}",
    }
    server = [sys.executable, "-m", "mlflow", "server"]
    os.execv(sys.executable, server + [word for option in options.items() for word in option])


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
