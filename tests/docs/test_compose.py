"""docs/use/compose.yaml is a file that Compose takes, and what it runs is what the month ran."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import services
import yaml
from project import ROOT

FILE = ROOT / "docs/use/compose.yaml"


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(FILE.read_text())


def check(file: Path) -> int:
    schema = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([sys.executable, *schema, str(file)], capture_output=True).returncode


def test_it_is_what_the_specification_of_compose_asks_for(compose: Any, tmp_path: Path) -> None:
    assert check(FILE) == 0
    compose["services"]["s3"]["port"] = compose["services"]["s3"].pop("ports")
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(compose))
    assert check(tmp_path / "compose.yaml") == 1


def test_all_that_it_names_is_there_and_of_one_version_and_answers_on_this_machine_alone(
    compose: Any,
) -> None:
    named = compose["services"]
    for service in named.values():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert {one["source"] for one in service.get("configs", [])} <= compose["configs"].keys()
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= {
            *compose["volumes"]
        }
        assert {*service.get("depends_on", [])} <= named.keys()


def test_mlflow_is_served_as_in_the_month_of_the_tests(compose: Any) -> None:
    service = compose["services"]["mlflow"]
    words = " ".join(service["command"]).replace("=", " ").split()
    assert tuple(words[1:4]) == services.Mlflow.COMMAND
    assert {"--backend-store-uri", "--artifacts-destination"} <= {*words}
    build = service["build"]["dockerfile_inline"]
    lock = (ROOT / "requirements.lock").read_text()
    for name in ("mlflow", "pg8000"):
        (version,) = re.findall(rf"{name}(?:\[auth\])?==([\d.]+)", build)
        assert f"\n{name}=={version} " in lock


def test_every_secret_that_it_asks_for_is_named_at_its_top_and_none_is_in_it() -> None:
    text = FILE.read_text()
    head = text[: text.index("name:")]
    assert all(name in head for name in re.findall(r"\$\{(\w+):\?\}", text))
    assert not re.findall(r"(?i)(?:password|secret\w*): (?!\$\{)\S+", text)
