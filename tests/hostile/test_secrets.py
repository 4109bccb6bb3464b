"""What only the environment knows is in no file and in nothing that is printed."""

from pathlib import Path

import pytest
from studio import Studio

SECRET = "correct-horse-battery"  # noqa: S105
ENVIRONMENT = {
    "MLFLOW_TRACKING_URI": f"http://ada:{SECRET}@127.0.0.1:9",  # where nobody listens
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "GH_TOKEN": SECRET,
    "HF_TOKEN": SECRET,
    "PUSH_TOKEN": SECRET,
    "IMAGETRAIL_OPTUNA_STORAGE": f"postgresql+pg8000://ada:{SECRET}@127.0.0.1:9/optuna",
}


@pytest.mark.slow
def test_no_file_and_nothing_printed_has_a_secret_of_the_environment(tmp_path: Path) -> None:
    made = Studio(tmp_path)
    made.build()
    said = made.repro(**ENVIRONMENT)
    said += made.publish(ok=False, **ENVIRONMENT)
    said += made.imagetrail("ui", ok=False, **ENVIRONMENT)
    made.set(data={"source": f"https://ada:{SECRET}@example.org/pets.zip"})
    said += made.imagetrail("params", ok=False)
    said += made.imagetrail("init", f"https://{SECRET}@example.org/pets.zip", ok=False)
    (made.root / "params.yaml").unlink()  # where the user wrote it
    assert "127.0.0.1:9" in said and SECRET not in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
