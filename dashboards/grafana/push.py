"""Writes the dashboards to files, or to a Grafana through its API (grafana-api).

What today's Grafana refuses and how it is met: an existing folder (412) is used; unchanged dashboards stay as they are;
a dashboard that came from files cannot be overwritten (400), and the error says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from dashboards.grafana.build import all_dashboards
from tidemill.errors import Retry, Stop

FOLDER_UID = "tidemill"


def export(folder: Path) -> list[Path]:
    """Write one JSON file per dashboard, which Grafana's own user can read; give back their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    written = []
    for uid, dashboard in all_dashboards().items():
        file = folder / f"{uid}.json"
        file.write_text(json.dumps(dashboard, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        file.chmod(0o644)
        written.append(file)
    return written


def push(url: str, token: str) -> list[str]:
    """Create or replace every dashboard in the folder ``tidemill``; give back their addresses.

    Raises Stop where Grafana refuses, Retry where it does not answer.
    """
    from grafana_api.grafana_api import GrafanaClientError, GrafanaException
    from grafana_api.grafana_face import GrafanaFace

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Stop(f"--url {url!r}: give Grafana's address, as in http://127.0.0.1:3000")
    grafana = GrafanaFace(
        auth=token,
        host=parts.hostname,
        port=parts.port or (443 if parts.scheme == "https" else 80),
        protocol=parts.scheme,
        url_path_prefix=parts.path.strip("/"),
    )
    try:
        if not any(folder.get("uid") == FOLDER_UID for folder in grafana.folder.get_all_folders()):
            grafana.folder.create_folder("tidemill", uid=FOLDER_UID)
        addresses = []
        for dashboard in all_dashboards().values():
            saved = grafana.dashboard.update_dashboard(
                {"dashboard": dashboard, "folderUid": FOLDER_UID, "overwrite": True, "message": "tidemill"}
            )
            addresses.append(f"{url.rstrip('/')}{saved['url']}")
    except GrafanaClientError as error:
        raise Stop(f"Grafana at {url} refuses: {error} (a provisioned dashboard is changed in its file)") from error
    except (GrafanaException, OSError) as error:
        raise Retry(f"Grafana at {url} does not answer: {error}") from error
    return addresses
