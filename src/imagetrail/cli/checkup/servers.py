"""What the project talks to: MLflow, the study's database, the cluster, DVC's remotes."""

import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests

from imagetrail.base.words import without_secrets
from imagetrail.cli.checkup.check import Check, fault, ok, warning
from imagetrail.cli.checkup.machine import SKEW
from imagetrail.cli.checkup.project import remotes

PATIENCE = 2.0  # seconds
PORTS = {"postgresql": 5432, "mysql": 3306, "redis": 6379, "https": 443, "http": 80, "ssh": 22}


def mlflow(root: Path) -> Check:
    """Whether the server answers as MLflow does, or the database can be written."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if address.startswith(("http://", "https://")):
        return _server(address)
    if address and not address.startswith("sqlite:"):
        return _reached("MLflow's database", address)
    file = Path(address.removeprefix("sqlite:///")) if address else root / "mlflow.db"
    if not file.exists():
        return ok(f"{file.name} will be made")
    try:
        with sqlite3.connect(file, timeout=1) as database:
            database.execute("begin immediate")
            database.rollback()
    except sqlite3.Error as error:
        cure = f"end who uses it, or move {file} away: `imagetrail publish` fills a new one"
        return fault(f"{file}: {error}", cure)
    return ok(f"{file.name} can be written")


def _server(address: str) -> Check:
    place = without_secrets(address)
    cure = "start it, or mend MLFLOW_TRACKING_URI; without it runs are published later"
    try:
        answer = requests.get(f"{address.rstrip('/')}/health", timeout=PATIENCE)
    except requests.RequestException as error:
        return fault(f"{place} does not answer ({type(error).__name__})", cure)
    if answer.status_code != 200 or answer.text.strip() != "OK":
        return fault(f"{place} answers, but not as MLflow does ({answer.status_code})", cure)
    if date := answer.headers.get("date"):
        skew = time.time() - parsedate_to_datetime(date).timestamp()
        if abs(skew) > SKEW:
            return warning(f"{place}: its clock differs by {skew:.0f} s", "set both clocks")
    return ok(f"{place} answers")


def others(root: Path) -> Check:
    """The study's database, the head of the cluster, and DVC's remotes, as far as they are set."""
    found = list(_others(root))
    bad = [check for check in found if check.state != "ok"]
    return bad[0] if bad else ok(f"{len(found)} others answer" if found else "no others are set")


def _others(root: Path) -> Iterator[Check]:
    if storage := os.environ.get("IMAGETRAIL_OPTUNA_STORAGE", ""):
        yield _reached("the study's database", storage)
    head = os.environ.get("RAY_ADDRESS", "")
    if os.environ.get("IMAGETRAIL_BACKEND") == "ray" and ":" in head:  # not local, not auto
        yield _reached("Ray", f"ray://{head.removeprefix('ray://')}")
    for remote in remotes(root):
        if "://" not in remote and not Path(remote).exists():
            yield fault(f"DVC's remote {remote} is not there", "mount it, or `dvc remote modify`")
        elif urlsplit(remote).scheme in PORTS:
            yield _reached("DVC's remote", remote)


def _reached(what: str, address: str) -> Check:
    parts = urlsplit(address)
    if not parts.hostname:  # a file, or an address without a host
        return ok(f"{what} is {without_secrets(address)}")
    port = parts.port or PORTS.get(parts.scheme.split("+")[0], 0)
    try:
        socket.create_connection((parts.hostname, port), timeout=PATIENCE).close()
    except OSError as error:
        place = f"{parts.hostname}:{port}"
        return fault(
            f"{what} at {place} does not answer ({error})", "start it, or mend its address"
        )
    return ok(f"{what} answers")
