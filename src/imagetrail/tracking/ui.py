"""The MLflow UI, on loopback only."""

import os
import socket
import sys
from pathlib import Path

from imagetrail.base.errors import UserError
from imagetrail.base.terminal import say
from imagetrail.tracking.store import open_store, uri


def serve(first: int) -> None:
    """Replaces this process with MLflow's server on the first free port from `first` on."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if address.startswith("http"):
        raise UserError(f"MLFLOW_TRACKING_URI is a server already: open {address}")
    port = next((port for port in range(first, first + 20) if _free(port)), None)
    if port is None:
        raise UserError(f"no free port from {first} to {first + 19}; choose another with --port")
    runs = f"#/experiments/{open_store(Path()).experiment}/runs?workflowType=machine_learning"
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
