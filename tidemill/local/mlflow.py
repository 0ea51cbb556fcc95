"""The embedded model registry: an MLflow server on SQLite, loopback only, telemetry off."""

from __future__ import annotations

from tidemill.local.process import python
from tidemill.settings import Settings


def argv(settings: Settings) -> tuple[str, ...]:
    """The server's command line; its database and artifacts live under ``<data_dir>/mlflow``."""
    folder = settings.data_dir / "mlflow"
    options = {
        "backend-store-uri": f"sqlite:///{folder / 'mlflow.db'}",
        "artifacts-destination": str(folder / "artifacts"),
        "host": "127.0.0.1",
        "port": str(settings.port("mlflow")),
        "workers": "1",
        "uvicorn-opts": "--log-level warning --no-access-log",
    }
    named = [part for name, value in options.items() for part in (f"--{name}", value)]
    return python("-m", "mlflow", "server", "--serve-artifacts", *named)


def environment() -> dict[str, str]:
    """Environment of the server: nothing is sent anywhere, no job workers, one thread per library."""
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }


def prepare(settings: Settings) -> None:
    """Make the server's folder."""
    (settings.data_dir / "mlflow" / "artifacts").mkdir(parents=True, exist_ok=True)
