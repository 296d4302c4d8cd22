"""MLflow: https://mlflow.org/docs; without `MLFLOW_TRACKING_URI` a SQLite file in the run's folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from lat.engine.tracked_run import TrackedRun

STORE = "mlflow/mlflow.db"
"""The store in a run's folder: `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow/mlflow.db` shows it."""

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""A server that is gone is given up after about 20 s instead of minutes, unless the environment says otherwise."""


class MlflowTracker:
    """A run of MLflow, in the experiment that is called like the project.

    Args:
        run: its project, its name, and the folder of its store.
        known: the id of a run to go on with, if there is one.
        new: not used: MLflow gives ids itself.

    Raises:
        Exception: of MLflow, if the server or the store cannot be reached; so do the methods.
    """

    def __init__(self, run: TrackedRun, known: str | None, new: str) -> None:
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Param

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        place = os.environ.get("MLFLOW_TRACKING_URI")
        if not place:
            (run.folder / STORE).parent.mkdir(parents=True, exist_ok=True)
            place = f"sqlite:///{(run.folder / STORE).absolute()}"
        self._client: Any = MlflowClient(tracking_uri=place)
        if known is not None:
            self.id = known
            self._client.update_run(known, status="RUNNING")
            return
        self.id = self._client.create_run(_experiment(self._client, run), run_name=run.name).info.run_id
        self._client.log_batch(self.id, params=[Param(name, str(value)) for name, value in run.settings.items()])

    @staticmethod
    def check() -> None:
        """Nothing needs to be known before: without a server there is the store in the run's folder."""

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Show figures by name."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self.id, metrics=[Metric(name, value, now, step) for name, value in figures.items()])

    def close(self, outcome: str) -> None:
        """Say how it ended."""
        self._client.set_terminated(self.id, _STATUS[outcome])


def _experiment(client: Any, run: TrackedRun) -> str:
    """The id of the experiment, which another process may create at the same moment; its artifacts lie beside the store."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(run.project)) is not None:
        return str(found.experiment_id)
    is_local = not os.environ.get("MLFLOW_TRACKING_URI")
    artifacts = (run.folder / STORE).parent.absolute().as_uri() + "/artifacts" if is_local else None
    try:
        return str(client.create_experiment(run.project, artifact_location=artifacts))
    except MlflowException:
        if (found := client.get_experiment_by_name(run.project)) is None:
            raise
        return str(found.experiment_id)
