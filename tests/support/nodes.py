"""Nodes of a Ray cluster on this machine from which folders of it are hidden."""

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from mlflow_store import free_port
from project import wait_for

# In a namespace of its own a mount is seen by nobody else, and processes end with the first.
ALONE = ("unshare", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
QUICK = {  # a dead node is noticed within seconds, a slow one is not taken for dead
    "RAY_health_check_failure_threshold": "5",
    "RAY_health_check_period_ms": "1000",
    "RAY_worker_niceness": "0",
}


class Nodes:
    """A cluster: a head without workers, to which the driver is joined, and nodes with some."""

    def __init__(self, folder: Path, hidden: Path) -> None:
        """folder: of the nodes' caches. hidden: a folder that no process of the nodes can see."""
        if subprocess.run([*ALONE, "true"], capture_output=True).returncode:
            pytest.skip("needs namespaces: unshare is not allowed here")
        self.folder, self.hidden = folder, hidden
        # what driver and nodes need to know one another
        self.secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.address = f"127.0.0.1:{free_port()}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.sockets = tempfile.mkdtemp(prefix="ray-")  # below `folder` their paths were too long
        port = self.address.split(":")[1]
        words = ("--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.sockets}")
        self._start("head", "--head", f"--port={port}", *words)

    @property
    def joined(self) -> dict[str, str]:
        """The variables by which a command works on the cluster."""
        return {"IMAGETRAIL_BACKEND": "ray", "RAY_ADDRESS": self.address} | self.secret

    def add(self, name: str, **resources: float) -> None:
        words = [f"--{key}={value}" for key, value in {"num-cpus": 1, **resources}.items()]
        self._start(name, f"--address={self.address}", *words)

    def cache(self, name: str) -> Path:
        return self.folder / name

    def sees(self, name: str, path: Path) -> bool:
        """Whether a file of this machine is there for the node, as its namespace has it."""
        return Path(f"/proc/{self.running[name].pid}/root{path}").exists()

    def wait_for(self, name: str) -> None:
        wait_for(lambda: b"Ray runtime started" in self._log(name).read_bytes(), self.running[name])

    def kill(self, name: str) -> None:
        """As a loss of power: no process of the node lives on for a moment."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        for name in [*self.running]:
            self.kill(name)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _start(self, name: str, *words: str) -> None:
        ray = [str(Path(sys.executable).parent / "ray"), "start", "--block", *words]
        ray += ["--object-store-memory=200000000", "--disable-usage-stats"]
        script = f"mount -t tmpfs hidden {shlex.quote(str(self.hidden))}; exec {shlex.join(ray)}"
        log = self._log(name).open("wb")
        self.running[name] = subprocess.Popen(
            [*ALONE, "sh", "-ec", script],
            cwd="/",
            env=os.environ | QUICK | self.secret | {"IMAGETRAIL_CACHE": str(self.cache(name))},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"
