"""Where data sets are kept beside the jobs' folders, versioned by DVC."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from tidemill.settings.strict import Strict

PLUGINS = {
    "azure": "dvc_azure",
    "gdrive": "dvc_gdrive",
    "gs": "dvc_gs",
    "hdfs": "dvc_hdfs",
    "http": "dvc_http",
    "https": "dvc_http",
    "oss": "dvc_oss",
    "s3": "dvc_s3",
    "ssh": "dvc_ssh",
    "webdav": "dvc_webdav",
    "webdavs": "dvc_webdav",
    "webhdfs": "dvc_webhdfs",
}
"""What DVC needs beside itself, by the scheme of the remote's URL."""
NAMING_USERS = ("hdfs", "ssh")
"""Schemes whose URLs name a user; in any other, what stands there may be a token."""


class DvcSettings(Strict):
    """Data sets that DVC keeps in a remote, too."""

    remote: str = ""
    """Folder (it must be there: one that is not is taken for a disk that is not mounted) or URL that DVC knows, as
    ``s3://bucket/data-sets``, that every data set is pushed to; empty: none is. Credentials are in the environment of
    the role retrain (``AWS_…``), never here; a user name only with ssh:// and hdfs://. Needs
    `deploy/setup.py --dvc`."""
    timeout_s: float = Field(default=300, gt=0, le=86_400)
    """Longest time of one call of DVC, seconds (a push is three); then it is ended, and the remote counts as away."""

    @field_validator("remote")
    @classmethod
    def _check_remote(cls, remote: str) -> str:
        if any(sign in remote for sign in '"\\%') or not remote.isprintable():
            raise ValueError("DVC would misread quotes, backslashes, percent and control signs; leave them out")
        if "://" not in remote:
            return remote
        url = urlsplit(remote)
        if url.scheme not in PLUGINS:
            raise ValueError(f"DVC has no remotes {url.scheme}://; give a folder, or one of {', '.join(PLUGINS)}")
        if not url.netloc:
            raise ValueError(f"it names no bucket or host; write it as {url.scheme}://bucket/folder")
        user = url.username is not None and url.scheme not in NAMING_USERS
        if user or url.password is not None or url.query or url.fragment:
            raise ValueError("a password or token stands in it; put it into the environment, where DVC finds it")
        return remote

    @property
    def plugin(self) -> str:
        """The module that DVC needs beside itself for this remote; empty: none."""
        return PLUGINS[urlsplit(self.remote).scheme] if "://" in self.remote else ""
