"""MLflow's model registry: exported models as versions that aliases point at."""

from imagetrail.tracking.store import CONTENT, Store  # first, as it switches telemetry off

# isort: split
from contextlib import nullcontext
from importlib.metadata import version as installed
from pathlib import Path

import mlflow.onnx
import numpy as np
import onnx
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from imagetrail.base import hashing
from imagetrail.base.errors import UserError

PACKAGES = ("numpy", "onnx", "onnxruntime")  # that whoever loads a model from MLflow needs


def register(
    store: Store,
    name: str,
    model: str,
    path: Path,
    *,
    alias: str,
    run: str | None = None,
    description: str,
) -> None:
    """Points `alias` at the version whose file has the SHA-256 `model`, made if need be.

    Raises UserError if `path` is another file.
    """
    try:
        versions = list(store.client.search_model_versions(f"name = '{name}'"))
    except MlflowException:  # nothing is registered under this name yet
        versions = []
    known = [version.version for version in versions if version.tags.get(CONTENT) == model]
    number = str(known[0] if known else _log_model(store, run, name, model, path))
    if not known:
        store.client.update_model_version(name, number, description)
    if str(store.client.get_registered_model(name).aliases.get(alias)) != number:
        store.client.set_registered_model_alias(name, alias, number)


def _log_model(store: Store, run: str | None, name: str, model: str, path: Path) -> str:
    if not path.exists() or hashing.sha256(path) != model:
        raise UserError(
            f"{path} is not the model {model[:12]}, which MLflow lacks; run `dvc pull {path}`"
        )
    graph = onnx.load(path)
    mlflow.set_experiment(experiment_id=store.experiment)
    with mlflow.start_run(run_id=run) if run else nullcontext():
        logged = mlflow.onnx.log_model(
            graph,
            name="model",
            registered_model_name=name,
            signature=_signature(graph),
            save_as_external_data=False,
            onnx_execution_providers=["CPUExecutionProvider"],
            pip_requirements=[f"{package}=={installed(package)}" for package in PACKAGES],
        )
    number = str(logged.registered_model_version)
    store.client.set_model_version_tag(name, number, CONTENT, model)
    return number


def _signature(model: onnx.ModelProto) -> ModelSignature:
    def spec(value: onnx.ValueInfoProto, kind: type[np.generic]) -> TensorSpec:
        shape = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim][1:]
        return TensorSpec(np.dtype(kind), (-1, *shape), value.name)

    return ModelSignature(
        inputs=Schema([spec(value, np.uint8) for value in model.graph.input]),
        outputs=Schema([spec(value, np.float32) for value in model.graph.output]),
    )
