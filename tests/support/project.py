"""Projects in temporary folders: real Git and DVC, and commands run there as users run them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psutil
import yaml

if TYPE_CHECKING:
    from mlflow import MlflowClient  # noqa: TID251  tests look at what users see

ROOT = Path(__file__).parents[2]  # this repository
Found = TypeVar("Found")


class Project:
    """A folder in which commands run, with these variables on top of a user's environment."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root, self.environment = root.resolve(), environment

    # ---- files ----

    def take(self, *names: str) -> None:
        """Copies files and folders of this repository."""
        for name in names:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(ROOT / name, self.root / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, self.root / name)

    def set(self, **changes: Any) -> None:
        """Changes keys of sections of params.yaml, which begins as a copy of this repository's."""
        path = self.root / "params.yaml"
        params = yaml.safe_load((path if path.exists() else ROOT / "params.yaml").read_text())
        for name, value in changes.items():
            params[name] = params[name] | value if isinstance(value, dict) else value
        path.write_text(yaml.safe_dump(params))

    def json(self, path: str) -> Any:
        """What a file below artifacts holds."""
        return json.loads((self.root / "artifacts" / path).read_text())

    def copy(self, root: Path) -> Self:
        """The same project in another folder, to be changed."""
        shutil.copytree(self.root, root, symlinks=True)
        return type(self)(root, **self.environment)

    # ---- commands ----

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Starts a command, which `finished` waits for."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self._environment(environment),
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, ok: bool = True, **environment: str) -> str:
        """Runs a command, which must succeed or, if not `ok`, fail; returns all that it prints."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self._environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (done.returncode == 0) == ok, done.stdout
        return done.stdout

    def dvc(self, *words: str, ok: bool = True, **environment: str) -> str:
        return self.run("dvc", *words, ok=ok, **environment)

    def imagetrail(self, *words: str, ok: bool = True, **environment: str) -> str:
        return self.run(sys.executable, "-m", "imagetrail.cli", *words, ok=ok, **environment)

    def init(self) -> None:
        """Makes the folder a repository of Git and DVC."""
        self.root.mkdir(exist_ok=True)
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.run("git", "config", "user.name", "Ada")
        self.run("git", "config", "user.email", "ada@example.org")
        self.dvc("init", "--quiet")

    def commit(self, message: str = "more") -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        """This process's, without settings of MLflow, Git and the make that may run the tests.

        This interpreter's commands come first.
        """
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_", "GIT_", "MAKE", "MFLAGS"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
        return inherited | {"PATH": path, "DVC_NO_ANALYTICS": "1"} | self.environment | more

    # ---- what commands leave ----

    def processes(self) -> list[psutil.Process]:
        """The processes that work in this folder."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.cwd() == str(self.root):
                    found.append(process)
        return found

    def client(self, uri: str = "") -> "MlflowClient":
        """Of MLflow's store in this folder, or of another."""
        from mlflow import MlflowClient  # noqa: TID251  here: it takes seconds

        return MlflowClient(uri or f"sqlite:///{self.root / 'mlflow.db'}")


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, once it has ended."""
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


def wait_for(condition: Callable[[], Found], process: subprocess.Popen[Any] | None = None) -> Found:
    """What a condition gives as soon as it is true, which it must become while the process runs."""
    deadline = time.monotonic() + 300  # a busy machine is slow, one that hangs must not hold us
    while not (found := condition()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def kill(process: subprocess.Popen[Any]) -> None:
    """Kills a process and all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
