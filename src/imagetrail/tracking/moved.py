"""A project that was moved or copied keeps its pictures in MLflow.

MLflow notes absolute addresses of files, also in the database that lies beside them.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

FOLDER = "mlartifacts"  # beside mlflow.db
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


def repoint(database: Path, location: str) -> bool:
    """Has all addresses begin where the database is now; whether they did not.

    location: that of an experiment, `file://…/mlartifacts/<name>`.
    """
    before, found, _ = location.rpartition(f"/{FOLDER}/")
    now = database.parent.as_uri()
    if not found or before == now:
        return False
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table, column in COLUMNS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608  ours
                f"WHERE substr({column}, 1, ?) = ?",
                (now, len(before) + 1, len(before) + 1, f"{before}/"),
            )
    return True
