"""`imagetrail doctor` on a healthy machine and on sick ones: each fault has a line and a cure."""

import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow_store import free_port
from project import Project

from imagetrail.cli import doctor
from imagetrail.cli.checkup import machine, project, servers
from imagetrail.cli.checkup.check import Check, ok
from imagetrail.release import git_dvc


@pytest.fixture(scope="module")
def healthy_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("healthy") / "repo")
    made.init()
    made.take("dvc.yaml", ".dvcignore", ".gitignore")
    made.set()
    made.commit("first")
    return made


@pytest.fixture
def healthy(healthy_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = healthy_once.copy(tmp_path / "repo")
    monkeypatch.chdir(made.root)
    for name in ("MLFLOW_TRACKING_URI", "IMAGETRAIL_OPTUNA_STORAGE", "IMAGETRAIL_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    return made


def test_a_healthy_machine_has_a_table_without_a_fault(healthy: Project) -> None:
    began = time.monotonic()
    said = healthy.imagetrail("doctor")
    rows = [line for line in said.splitlines() if not line.startswith(" ")]
    assert len(rows) == 12 and all(line.startswith(("ok ", "warning ")) for line in rows)
    assert "ok       git         everything is in a commit" in said
    assert time.monotonic() - began < 60  # 2 s where nothing else runs


def test_a_sick_one_ends_with_1_and_a_cure_for_each_fault(healthy: Project) -> None:
    healthy.set(train={"epochs": 0})
    (healthy.root / "dvc.lock").write_text("<<<<<<< HEAD\n")
    (healthy.root / "mlflow.db").write_text("no database, but longer than a header " * 10)
    remote = f"['remote \"team\"']\nurl = {healthy.root}/nowhere\n"
    (healthy.root / ".dvc/config").write_text(remote)
    index = healthy.root / ".git/index.lock"
    index.touch()
    os.utime(index, (1, 1))
    said = healthy.imagetrail("doctor", ok=False)
    lines = said.splitlines()
    faults = {line.split()[1]: number for number, line in enumerate(lines) if line[:5] == "fault"}
    assert {"params", "dvc", "locks", "mlflow", "servers"} == faults.keys(), said
    assert all("cure: " in lines[number + 1] for number in faults.values())
    assert "Traceback" not in said and "in conflict" in said and "index.lock" in said


def test_a_torn_dvc_lock_is_mended_and_told(healthy: Project) -> None:
    (healthy.root / "dvc.lock").write_text("schema: '2.0'\nstages:\n  fetch:\n    cm")
    check = project.dvc(Path())
    assert check.state == "warning" and "was torn" in check.found
    assert project.dvc(Path()).state == "ok"


def test_git_without_a_repository_a_commit_or_a_finished_merge(healthy: Project) -> None:
    (healthy.root / ".git/MERGE_HEAD").touch()
    assert "merge" in project.git(Path()).found
    (healthy.root / ".git/MERGE_HEAD").unlink()
    (healthy.root / "dvc.yaml").write_text("stages: {}\n")
    assert project.git(Path()).found == "1 changed files are in no commit"
    healthy.run("git", "update-ref", "-d", "HEAD")
    assert project.git(Path()).found == "no commit yet"


def test_who_is_at_work_is_named(healthy: Project) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()", "repro"], stdin=subprocess.PIPE) as dvc:
        noted = {"write": {"/x": {"pid": dvc.pid, "cmd": "dvc repro"}}, "read": {}}
        (healthy.root / ".dvc/tmp/rwlock").write_text(json.dumps(noted))
        assert project.locks(Path()).found == f"at work: dvc repro ({dvc.pid})"
        dvc.communicate(b"\n")
    assert project.locks(Path()).state == "ok"


def test_versions_that_differ_from_the_lock_are_told(healthy: Project) -> None:
    own = project.metadata.version("typer")
    (healthy.root / "requirements.lock").write_text(
        f"typer=={own} \\\n    --hash=sha256:0\nnumpy==0.1 ; python_version > '3'\nno-such==1\n"
    )
    check = project.versions(Path())
    assert check.state == "warning" and check.found.startswith("numpy ") and "0.1" in check.found
    (healthy.root / "requirements.lock").write_text(
        f"typer[all]=={own}\nnumpy==0.1 ; python_version < '3'\n"
    )
    assert project.versions(Path()) == ok("as requirements.lock says")


@pytest.mark.usefixtures("healthy")
def test_a_full_disk_and_a_lack_of_memory_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST", 1e9)
    for check in (machine.disk(Path()), machine.memory(Path())):
        assert check.state == "fault" and check.cure


def test_a_container_with_little_memory_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    monkeypatch.setattr(machine, "CONTAINER", tmp_path)
    assert machine.memory(tmp_path).found == "0.5 GB free"
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory(tmp_path).found != "0.5 GB free"


def test_few_open_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "DESCRIPTORS", 10**9)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = limit != resource.RLIM_INFINITY
    assert machine.files(Path()).state == ("warning" if few else "ok")


@pytest.mark.usefixtures("healthy")
def test_a_clock_behind_the_last_commit_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    committed = float(git_dvc.git(Path(), "log", "-1", "--format=%ct") or 0)
    monkeypatch.setattr(machine.time, "time", lambda: committed - 3600)
    assert machine.clock(Path()).found == "3600 s behind the last commit or dvc.lock"


# ---- servers ----


@contextmanager
def answering(text: str, date: str = "") -> Iterator[str]:
    """A server that answers everything with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            if date:
                self.send_header("Date", date)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://ada:secret@127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("text", "date", "state", "found"),
    [
        ("OK", "", "ok", "answers"),
        ("<html>", "", "fault", "not as MLflow does"),
        ("OK", "Thu, 01 Jan 2015 00:00:00 GMT", "warning", "its clock differs"),
    ],
)
def test_a_server_is_asked_as_mlflow_is(
    monkeypatch: pytest.MonkeyPatch, text: str, date: str, state: str, found: str
) -> None:
    with answering(text, date) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        check = servers.mlflow(Path())
    assert check.state == state and found in check.found and "secret" not in check.found


def nowhere() -> str:
    return f"127.0.0.1:{free_port()}"


SILENT: dict[str, Callable[[], dict[str, str]]] = {
    "MLflow": lambda: {"MLFLOW_TRACKING_URI": f"http://{nowhere()}"},
    "database": lambda: {"MLFLOW_TRACKING_URI": f"postgresql://u:p@{nowhere()}/x"},
    "study": lambda: {"IMAGETRAIL_OPTUNA_STORAGE": f"postgresql+pg8000://u:p@{nowhere()}/x"},
    "Ray": lambda: {"IMAGETRAIL_BACKEND": "ray", "RAY_ADDRESS": nowhere()},
}


@pytest.mark.parametrize("what", SILENT)
def test_a_server_that_does_not_answer_is_a_fault(
    healthy: Project, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    for name, value in SILENT[what]().items():
        monkeypatch.setenv(name, value)
    checks = (servers.mlflow(healthy.root), servers.others(healthy.root))
    (bad,) = [check for check in checks if check.state != "ok"]
    assert bad.state == "fault" and "does not answer" in bad.found and "u:p" not in bad.found


def test_a_database_that_somebody_holds_is_a_fault(healthy: Project) -> None:
    with sqlite3.connect(healthy.root / "mlflow.db") as holder:
        holder.execute("create table t (x)")
        holder.commit()
        holder.execute("begin exclusive")
        assert "locked" in servers.mlflow(Path()).found
        holder.rollback()
    assert servers.mlflow(Path()).state == "ok"


def test_what_hangs_is_told_and_holds_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "PATIENCE", 0.2)
    over = threading.Event()

    def hangs(_: Path) -> Check:
        over.wait()
        return ok("late")

    found = doctor._run({"slow": hangs, "fast": lambda _: ok("fine")})()
    over.set()
    assert found["fast"] == ok("fine") and "no answer within" in found["slow"].found


def test_a_server_that_accepts_and_says_nothing_takes_no_longer_than_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setattr(servers, "PATIENCE", 0.2)
        assert "does not answer" in servers.mlflow(Path()).found
