"""Where code of others comes from: each file by its digest, each action by its commit."""

import hashlib
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from project import ROOT

LOCKS = ("requirements.lock", "requirements.cuda.lock")
BLOCK = re.compile(r"^[A-Za-z0-9].*\n(?:^ .*\n)*", re.MULTILINE)  # a package and its digests
DIGEST = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def blocks(lock: str) -> dict[str, str]:
    """The part of a lock that is about a package, by its name."""
    found = BLOCK.findall((ROOT / lock).read_text())
    return {re.split(r"[=\s]", block)[0]: block for block in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_a_version_and_digests(lock: str) -> None:
    found = blocks(lock)
    assert found and "==" in (ROOT / lock).read_text()
    for name, block in found.items():
        first = block.splitlines()[0].removesuffix(" \\")
        assert re.match(rf"{re.escape(name)}==[\w.]+( ; .*)?$", first), first
        assert DIGEST.search(block), name


def test_the_installed_torch_may_be_so_and_needs_what_is_locked() -> None:
    here = Requirement(blocks(LOCKS[0])["torch"].splitlines()[0].removesuffix(" \\"))
    assert here.specifier.contains(metadata.version("torch"))
    assert {"triton", "nvidia-cudnn-cu13", "cuda-toolkit"} <= blocks(LOCKS[1]).keys()
    assert not blocks(LOCKS[0]).keys() & blocks(LOCKS[1]).keys()


def test_setup_takes_nothing_without_a_digest() -> None:
    made = subprocess.run(
        ["make", "--dry-run", "--always-make", "setup"], cwd=ROOT, capture_output=True, text=True
    )
    installs = [part for part in re.split("[;\n]", made.stdout) if " install " in part]
    assert len(installs) == 4 and "pip " in installs[0]
    assert all("--no-deps" in line for line in installs)
    assert all("--require-hashes -r " in line or "--editable ." in line for line in installs)
    chosen = next(line for line in made.stdout.splitlines() if " download " in line)
    assert "--only-binary :all:" in chosen  # an sdist would run code


def test_a_lock_keeps_the_digests_of_other_builds_while_torch_stays(tmp_path: Path) -> None:
    """And parts off what a CUDA build alone needs."""
    (tmp_path / "requirements.lock").write_text("")
    (tmp_path / "requirements.cuda.lock").write_text("")
    one, two = ("sha256:" + digit * 64 for digit in "12")
    build = tmp_path / "torch-2.0+cpu-cp311.whl"
    build.write_bytes(b"a build")
    wheel = "sha256:" + hashlib.sha256(b"a build").hexdigest()

    def lock(version: str, digest: str, *wheels: Path) -> str:
        (tmp_path / "resolved").write_text(
            f"numpy==1.0 \\\n    --hash={one}\nnvidia-x==3 \\\n    --hash={one}\n"
            f"torch=={version} \\\n    --hash={digest}\ntriton==1 \\\n    --hash={one}\n"
        )
        words = [sys.executable, str(ROOT / ".ci/lock.py"), "resolved", *map(str, wheels)]
        subprocess.run(words, cwd=tmp_path, check=True)
        return (tmp_path / "requirements.lock").read_text()

    assert wheel in (text := lock("2.0", one, build)) and one in text
    assert wheel in (text := lock("2.0", two)) and one in text and two in text
    assert wheel not in (text := lock("2.1", two)) and two in text
    assert "triton" not in text and "nvidia" not in text
    assert (tmp_path / "requirements.cuda.lock").read_text().count("==") == 2
    with pytest.raises(subprocess.CalledProcessError):
        lock("2.1", two, build)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit(file: Path) -> None:
    used = re.findall(r"uses: *(.*)", file.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v[\d.]+", action), action


def test_no_file_names_a_package_index() -> None:
    """Where packages are from, pip's own settings say."""
    for name in ("Makefile", "pipeline.mk", "Dockerfile", ".ci/run", "pyproject.toml", *LOCKS):
        text = (ROOT / name).read_text()
        assert not re.search(
            r"index-url[ =]|find-links (?!.venv)|\bhttps?://\S*(simple|whl)", text
        ), name


def test_the_bill_of_materials_is_valid_and_names_every_package() -> None:
    recipe = (
        subprocess.run(["make", "--dry-run", "sbom"], cwd=ROOT, capture_output=True, text=True)
        .stdout.strip()
        .splitlines()[-1]
    )
    command = recipe.replace(".venv/bin/cyclonedx-py", f"{sys.executable} -m cyclonedx_py")
    made = subprocess.run(
        ["sh", "-c", command.replace("sbom.json", "-")], cwd=ROOT, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made.stdout) is None
    parts = {part["name"]: part for part in json.loads(made.stdout)["components"]}
    assert parts.keys() == {name for lock in LOCKS for name in blocks(lock)}
    assert all(part["version"] and part["externalReferences"] for part in parts.values())


def test_the_images_have_what_they_copy() -> None:
    """Docker sees nothing but what .dockerignore lets through."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    through = {line[1:] for line in lines if line.startswith("!")}
    files = (ROOT / "src/imagetrail/scaffold").iterdir()
    links = {str(file.resolve().relative_to(ROOT)) for file in files if file.is_symlink()}
    assert "*" in lines and links <= through
    assert {"src", "Makefile", "pipeline.mk", "requirements*.lock", "pyproject.toml"} <= through
