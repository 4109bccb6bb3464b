"""A team's servers, real ones at ports of this machine: each can be stopped, and goes on later."""

import json
import logging
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import mlflow_store
import pytest
import requests
from mlflow_store import answers, free_port
from project import kill, wait_for

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Server(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


class PostgreSQL:
    """A server of its own, run by an unprivileged user; skips where there is none."""

    def __init__(self) -> None:
        pytest.importorskip("pg8000", reason="needs the extra postgresql")
        found = [
            *Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"),
            *([Path(path)] if (path := shutil.which("pg_ctl")) else []),
        ]
        if not found:
            pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
        self.binaries, self.port = found[0].resolve().parent, free_port()
        # not below pytest's, which every pytest that begins closes to other users
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody")
        self._run("initdb", "--auth=trust", "--username=ada", "--no-sync", "data")
        self.start()

    def address(self, name: str = "postgres") -> str:
        return f"postgresql+pg8000://ada@127.0.0.1:{self.port}/{name}"

    def create(self, name: str) -> str:
        """A database of this name; its address."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "ada", name)
        return self.address(name)

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k '' -F"
        self._run("pg_ctl", "-D", "data", "-o", options, "-l", "log", "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def _run(self, command: str, *words: str) -> None:
        subprocess.run(
            [str(self.binaries / command), *words],
            check=True,
            user="nobody" if os.geteuid() == 0 else None,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )


class Bucket:
    """moto's S3 in this process, which keeps what it has while it is stopped.

    `for_team` may do all; `for_others` are the keys of somebody who may do nothing.
    """

    name = "team"

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer  # here: it takes seconds

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
        self._server, self.port = ThreadedMotoServer, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()
        self.for_team, self.for_others = self._user("team", "s3:*"), self._user("other")
        self._client("s3", self.for_team).create_bucket(Bucket=self.name)
        requests.post(f"{self.address}/moto-api/reset-auth", data=b"0", timeout=10)

    def start(self) -> None:
        self._running = self._server("127.0.0.1", self.port, verbose=False)
        self._running.start()

    def stop(self) -> None:
        self._running.stop()

    def keys(self) -> set[str]:
        """What is in it."""
        pages = self._client("s3", self.for_team).get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.name)
        return {row["Key"] for page in found for row in page.get("Contents", [])}

    def _user(self, name: str, action: str = "") -> dict[str, str]:
        """The environment of a user who may do this."""
        iam = self._client("iam", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
        iam.create_user(UserName=name)
        if action:
            may = [{"Effect": "Allow", "Action": action, "Resource": "*"}]
            document = json.dumps({"Version": "2012-10-17", "Statement": may})
            iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def _client(self, service: str, keys: dict[str, str]) -> Any:
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.address,
            region_name="us-east-1",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )


class Mlflow:
    """MLflow's server with basic authentication, its runs in PostgreSQL, its files in the bucket.

    `for_team` may write; `for_others` is the environment of somebody who may only read.
    """

    COMMAND = ("server", "--app-name", "basic-auth")

    def __init__(self, folder: Path, database: PostgreSQL, bucket: Bucket) -> None:
        self.folder, self.port, self._stack = folder, free_port(), ExitStack()
        folder.mkdir()
        self.address = f"http://127.0.0.1:{self.port}"
        self.runs = database.create("mlflow")
        settings = folder / "auth.ini"
        settings.write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {database.create('users')}\n"
            "admin_username = root\nadmin_password = a-long-password\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            "auth_cache_ttl_seconds = 60\n"
        )
        self._environment = bucket.for_team | {
            "MLFLOW_S3_ENDPOINT_URL": bucket.address,
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test",
        }
        self._destination = f"s3://{bucket.name}/mlflow"
        self.start()
        self.for_team, self.for_others = self._user("team"), self._user("other")

    def start(self) -> None:
        words = [*self.COMMAND, "--workers", "1"]
        words += ["--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--backend-store-uri", self.runs, "--artifacts-destination", self._destination]
        process = mlflow_store.serving(
            *words, port=self.port, folder=self.folder, environment=self._environment
        )
        self._stack.enter_context(process)

    def stop(self) -> None:
        self._stack.close()

    def _user(self, name: str) -> dict[str, str]:
        user = {"username": name, "password": f"password-of-{name}"}
        answer = requests.post(
            f"{self.address}/api/2.0/mlflow/users/create",
            json=user,
            auth=("root", "a-long-password"),
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": user["password"],
        }


class GitServer:
    """Git's own daemon over a folder of bare repositories, from which all may read."""

    def __init__(self, folder: Path, *, writing: bool) -> None:
        self.folder, self.port, self.writing = folder, free_port(), writing
        self.start()

    def address(self, name: str) -> str:
        return f"git://127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        words = [f"--port={self.port}", "--listen=127.0.0.1", "--export-all", "--reuseaddr"]
        words += ["--enable=receive-pack"] if self.writing else []
        self._process = subprocess.Popen(
            ["git", "daemon", *words, f"--base-path={self.folder}", str(self.folder)],
            start_new_session=True,
            **QUIET,
        )
        wait_for(lambda: answers(self.port), self._process)

    def stop(self) -> None:
        kill(self._process)
        wait_for(lambda: not answers(self.port))


class Servers:
    """All that a team has. Of the two over the folder `git`, `readable` takes no push."""

    def __init__(self, folder: Path, git: Path) -> None:
        self.postgresql = PostgreSQL()
        self.bucket = Bucket()
        self.mlflow = Mlflow(folder / "mlflow", self.postgresql, self.bucket)
        self.git = GitServer(git, writing=True)
        self.readable = GitServer(git, writing=False)

    @property
    def for_team(self) -> dict[str, str]:
        """The environment of those who may do all."""
        return self.mlflow.for_team | self.bucket.for_team

    @property
    def for_others(self) -> dict[str, str]:
        """Of those who may only read, and nothing of the bucket."""
        return self.mlflow.for_others | self.bucket.for_others

    def stop(self) -> None:
        for server in (self.readable, self.git, self.mlflow, self.bucket, self.postgresql):
            server.stop()


@contextmanager
def serving(folder: Path, *, git: Path) -> Iterator[Servers]:
    servers = Servers(folder, git)
    try:
        yield servers
    finally:
        servers.stop()
