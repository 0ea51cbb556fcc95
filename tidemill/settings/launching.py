"""Where trainings and scorings run, what they may hold there, and how often they are tried."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tidemill.settings.strict import Strict, wrong


class KubernetesSettings(Strict):
    """Where KubeRay finds what a training needs."""

    namespace: str = Field(default="default", pattern="^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    """Namespace of the RayJobs."""
    image: str = ""
    """Container image with Ray and tidemill's extra ``train``; required for ``kind: kubernetes``."""
    volume_claim: str = ""
    """PersistentVolumeClaim (ReadWriteMany) that holds ``data_dir``; it is mounted there under the same path, in the
    controller as in the workers. Required for ``kind: kubernetes``."""
    ray_version: str = "2.60.0"
    """Version of Ray in the image."""
    spot: bool = False
    """Whether GPU workers may run on nodes that can be taken away (they tolerate the taint ``tidemill.dev/spot``)."""


class LauncherSettings(Strict):
    """Where a pipeline's trainings and scorings run, what they hold there, and how often they are tried. Work that
    only moves data runs beside the controller."""

    kind: Literal["local", "ray", "kubernetes"] = "local"
    """``local``: processes on the controller's machine; ``ray``: Ray Jobs; ``kubernetes``: RayJobs of KubeRay. Ray and
    Kubernetes need ``data_dir`` under the same path on every node."""
    gpus: int = Field(default=0, ge=0, le=16)
    """GPUs that one piece of work holds, alone, from its start to its end; 0: it sees none."""
    gpu_memory_gb: float = Field(default=0, ge=0)
    """Local: memory that must be free on each of these GPUs, GB (an engine on the same card leaves little)."""
    cpus: float = Field(default=1, gt=0)
    """Ray and Kubernetes: cores to ask for."""
    memory_gb: float = Field(default=0, ge=0)
    """Memory that must be free before the start, GB; on Ray and Kubernetes what is asked for. 0: not looked at."""
    max_wait_s: float = Field(default=3600, gt=0)
    """Local: longest wait for GPUs and memory, seconds; then the try is over."""
    lease_dir: str = "/tmp/tidemill-gpus"
    """Local: where GPUs are leased, by one lock file each; the same for all deployments of a machine."""
    max_tries: int = Field(default=3, ge=1)
    """Tries in a row that may end without a result or a further checkpoint; then the job has failed. Tries that got
    further do not count: a spot node may be lost as often as it likes."""
    backoff_s: float = Field(default=2, ge=0)
    """Pause before the second try, seconds; it doubles with each further one."""
    max_backoff_s: float = Field(default=300, ge=0)
    """Longest pause between two tries, seconds."""
    checkpoint_steps: int = Field(default=25, ge=0)
    """Steps between two checkpoints of a training; a later try goes on from the last one. 0: none are made."""
    url: str = Field(default="", pattern="^(https?://.+)?$")
    """Address of Ray's dashboard, as ``http://ray-head:8265``; required for ``kind: ray``."""
    python: str = ""
    """Absolute path of the Python that has tidemill's extra ``train``, on the workers; empty: the controller's own path
    (Kubernetes: ``python`` of the image)."""
    kubernetes: KubernetesSettings = KubernetesSettings()

    @model_validator(mode="after")
    def _check(self) -> LauncherSettings:
        if self.kind == "ray" and not self.url:
            raise wrong(("url",), "'' with kind: ray; set the address of Ray's dashboard, as http://ray-head:8265")
        for name in ("image", "volume_claim") if self.kind == "kubernetes" else ():
            if not getattr(self.kubernetes, name):
                raise wrong(("kubernetes", name), "'' with kind: kubernetes; name it, or choose kind: local")
        if self.python and not self.python.startswith("/"):
            raise wrong(("python",), f"{self.python!r} is no absolute path; write it as /opt/tidemill/.venv/bin/python")
        if self.max_backoff_s < self.backoff_s:
            message = f"{self.max_backoff_s:g} is less than backoff_s = {self.backoff_s:g}; set at least that"
            raise wrong(("max_backoff_s",), message)
        return self
