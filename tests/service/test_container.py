"""The Dockerfile, as far as it can be tried without Docker."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from project import ROOT
from service_client import PATIENCE, Service, draw

DOCKERFILE = ROOT / "Dockerfile"
ONLY = """
import sys
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {others!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Only())
from imagetrail.cli.main import main
main()
"""


def installed() -> list[str]:
    """The packages that are named in it."""
    (found,) = re.findall(r"printf '%s\\n' \\\n(.*?) > names\.txt", text(), re.DOTALL)
    return found.replace("\\", " ").split()


def text() -> str:
    return DOCKERFILE.read_text()


def test_it_serves_with_nothing_but_what_the_image_installs(model: Path, tmp_path: Path) -> None:
    have = {*installed(), "imagetrail"}
    others = {
        module
        for module, packages in metadata.packages_distributions().items()
        if not {canonicalize_name(name) for name in packages} & have
    }
    assert {"torch", "mlflow", "pandas", "scipy"} <= others
    words = ["serve", "--model", str(model), "--port", "0"]
    read_only = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh"]  # as by `docker run --read-only`
    process = subprocess.Popen(
        [*read_only, sys.executable, "-c", ONLY.format(others=others), *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        files = [("large.png", draw(0, 1100, 1100, 3)), ("small.png", draw(0))]
        status, found = Service(process, line.split()[1]).form(*files)
        assert status == 200 and all("class" in one for one in found["answers"])
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("name", installed())
def test_what_it_installs_is_locked(name: str) -> None:
    assert re.search(rf"^{name}==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


def test_it_copies_what_is_there_and_runs_as_nobody_in_particular() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", text(), re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied and all((ROOT / source).exists() for source in copied)
    last = text().rpartition("FROM ")[2]
    (user,) = re.findall(r"^USER (\d+):\d+$", last, re.MULTILINE)
    assert int(user) > 0
    assert re.search(r'^ENTRYPOINT \["/.*imagetrail", "serve"', last, re.MULTILINE)
