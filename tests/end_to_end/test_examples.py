"""Examples for clusters, as far as it can be told without one: their shape, and what they name."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT

from imagetrail.base import pipeline

SLURM = sorted((ROOT / "examples/slurm").glob("*.sbatch"))
KUBERNETES = sorted((ROOT / "examples/kubernetes").glob("*.yaml"))
# Fields that we use, of the API as it is: what is not here is misspelt, or to be looked up first.
POD = {
    "subdomain": str,
    "restartPolicy": str,
    "securityContext": {"runAsUser": int, "runAsNonRoot": bool, "fsGroup": int},
    "containers": [
        {
            "name": str,
            "image": str,
            "command": [str],
            "args": [str],
            "env": [
                {
                    "name": str,
                    "value": str,
                    "valueFrom": {"secretKeyRef": {"name": str, "key": str}},
                }
            ],
            "resources": {
                "requests": {"cpu": str, "memory": str},
                "limits": {"cpu": str, "memory": str},
            },
            "volumeMounts": [{"name": str, "mountPath": str}],
        }
    ],
    "volumes": [
        {
            "name": str,
            "emptyDir": {"sizeLimit": str, "medium": str},
            "persistentVolumeClaim": {"claimName": str},
        }
    ],
}
GROUP = {"rayStartParams": dict, "template": {"spec": POD}}
WORKERS = {"groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int}
KINDS: dict[tuple[str, str], Any] = {
    ("v1", "Service"): {"clusterIP": str, "selector": dict},
    ("batch/v1", "Job"): {
        "completionMode": str,
        "completions": int,
        "parallelism": int,
        "backoffLimit": int,
        "template": {"spec": POD},
    },
    ("ray.io/v1", "RayJob"): {
        "entrypoint": str,
        "shutdownAfterJobFinishes": bool,
        "backoffLimit": int,
        "rayClusterSpec": {
            "rayVersion": str,
            "authOptions": {"mode": str},
            "headGroupSpec": GROUP,
            "workerGroupSpecs": [GROUP | WORKERS],
        },
    },
}


def faults(value: Any, shape: Any, where: str = "spec") -> list[str]:
    """Where a value has a field that its shape has not, or another type."""
    if isinstance(shape, type):
        return [] if type(value) is shape else [f"{where}: {value!r}"]
    if isinstance(shape, list):
        return [
            fault
            for number, one in enumerate(value)
            for fault in faults(one, shape[0], f"{where}[{number}]")
        ]
    return [
        fault
        for key, one in value.items()
        for fault in (
            faults(one, shape[key], f"{where}.{key}") if key in shape else [f"{where}.{key}"]
        )
    ]


def documents(file: Path) -> list[dict[str, Any]]:
    return [*yaml.safe_load_all(file.read_text())]


def pods(value: Any) -> list[dict[str, Any]]:
    """Every pod below."""
    if isinstance(value, list):
        return [pod for one in value for pod in pods(one)]
    if not isinstance(value, dict):
        return []
    return [value] if "containers" in value else pods([*value.values()])


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda file: file.name)
def test_kubernetes_knows_every_field_of_an_example(file: Path) -> None:
    for document in documents(file):
        shape = KINDS[document["apiVersion"], document["kind"]]
        assert document.keys() == {"apiVersion", "kind", "metadata", "spec"}
        assert faults(document["spec"], shape) == []
        assert re.fullmatch(r"[a-z][a-z0-9-]{,50}", document["metadata"]["name"])


def test_a_misspelt_field_of_an_example_is_a_fault() -> None:
    job = next(one for one in documents(KUBERNETES[-1]) if one["kind"] == "Job")
    job["spec"]["completion"] = job["spec"].pop("completions")
    job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = 1
    assert faults(job["spec"], KINDS["batch/v1", "Job"]) == [
        "spec.template.spec.containers[0].env[0].value: 1",
        "spec.completion",
    ]


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda file: file.name)
def test_a_pod_is_not_root_mounts_what_it_has_and_says_what_it_needs(file: Path) -> None:
    found = pods(documents(file))
    assert found
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            assert container["resources"]["limits"]["memory"]
            assert not container["image"].endswith(":latest")


def test_the_pods_of_a_training_find_the_first_by_its_name() -> None:
    service, job = documents(ROOT / "examples/kubernetes/train.yaml")
    name, pod = job["metadata"]["name"], job["spec"]["template"]["spec"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert service["metadata"]["name"] == pod["subdomain"]
    script = pod["containers"][0]["args"][0]
    assert f"--master-addr={name}-0.{pod['subdomain']} " in script
    assert f"--nnodes={job['spec']['completions']} " in script
    assert job["spec"]["completions"] == job["spec"]["parallelism"]


@pytest.mark.parametrize("file", SLURM, ids=lambda file: file.name)
def test_bash_reads_an_example_for_slurm_and_its_settings_come_first(file: Path) -> None:
    assert subprocess.run(["bash", "-n", file], capture_output=True).stderr == b""
    lines = file.read_text().splitlines()
    settings = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert settings == [*range(1, len(settings) + 1)]  # SLURM reads none after a command
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", lines[number]) for number in settings)
    assert "set -euo pipefail" in lines


@pytest.mark.parametrize("file", [*SLURM, *KUBERNETES], ids=lambda file: file.name)
def test_an_example_names_stages_and_variables_that_there_are(file: Path) -> None:
    text, stages = file.read_text(), {*pipeline.stages(ROOT)}
    named = re.findall(
        r"(?:dvc (?:repro|pull|push|commit)(?: --force)?|imagetrail\.cli)((?: [a-z]+)+)", text
    )
    assert named and {name for names in named for name in names.split()} <= stages
    documented = (ROOT / "docs/reference/environment.md").read_text()
    assert all(f"`{name}`" in documented for name in re.findall(r"IMAGETRAIL_[A-Z]+", text))
    scripts = [file.read_text()] if file in SLURM else _scripts(documents(file))
    for script in scripts:
        assert (
            subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).stderr
            == ""
        )


def _scripts(found: list[dict[str, Any]]) -> list[str]:
    scripts = [
        text for pod in pods(found) for one in pod["containers"] for text in one.get("args", [])
    ]
    return scripts + [one["spec"]["entrypoint"] for one in found if "entrypoint" in one["spec"]]
