"""Sets up a checkout: environments, Java, the broker's jars. Run by `make setup` before any environment exists.

Standard library only. Each step is skipped when nothing it depends on has changed, says what it does and how long it
took, and ends with one clear sentence when something cannot be installed here.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ">=3.11,<3.13"
DEBIAN = {
    "java": "openjdk-17-jre-headless",
    "mvn": "maven",
    "chromium": "chromium",
    "strace": "strace",
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
}
BY_HAND = {
    "java": "install a Java runtime (17 or later), or set JAVA_HOME",
    "mvn": "install Apache Maven",
    "chromium": "install Chromium",
    "strace": "install strace",
    "promtool": "install Prometheus, with promtool",
    "amtool": "install Alertmanager, with amtool, as prometheus-alertmanager",
}
SERVICES = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}
"""What Debian would run at once; tests run their own."""


class Cannot(Exception):
    """A step that is impossible here; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps; 0 when everything is there."""
    parser = argparse.ArgumentParser(description="Set up this checkout.")
    parser.add_argument("--browser", action="store_true", help="also the browser that tests drive")
    parser.add_argument("--faults", action="store_true", help="also the tracer that kills a store at a rename")
    parser.add_argument("--alerting", action="store_true", help="also Prometheus' and Alertmanager's own checkers")
    parser.add_argument("--ray", action="store_true", help="also the Ray that the launcher's tests start")
    parser.add_argument("--quantize", action="store_true", help="also llm-compressor, for `tidemill quantize`")
    parser.add_argument("--dvc", action="store_true", help="also DVC, for `dvc.remote` and its tests")
    options = parser.parse_args(arguments)
    programs = ["java", "mvn", *(["chromium"] if options.browser else []), *(["strace"] if options.faults else [])]
    programs += list(SERVICES) if options.alerting else []
    try:
        _step("uv", lambda: _uv() is not None, _install_uv)
        _environment("environment", ".venv", ["requirements/all.txt", "pyproject.toml"], editable=True)
        _environment("engine's environment", ".venv-engine", ["requirements/engine.txt"], editable=False)
        if options.ray:
            _environment("Ray's environment", ".venv-ray", ["requirements/ray.txt"], editable=False)
        if options.quantize:
            _environment("quantization's environment", ".venv-quantize", ["requirements/quantize.txt"], editable=False)
        if options.dvc:
            _environment("DVC's environment", ".venv-dvc", ["requirements/dvc.txt"], editable=False)
        missing = [program for program in programs if not _found(program)]
        _step(", ".join(programs), lambda: not missing, lambda: _install_debian(missing))
        _jars()
    except Cannot as cannot:
        print(f"setup: {cannot}", file=sys.stderr)
        return 1
    return 0


def _step(what: str, there: Callable[[], bool], make: Callable[[], None]) -> None:
    if there():
        print(f"setup: {what}: there", flush=True)
        return
    print(f"setup: {what}: installing …", flush=True)
    begun = time.monotonic()
    make()
    print(f"setup: {what}: done in {time.monotonic() - begun:.0f} s", flush=True)


def _environment(what: str, folder: str, inputs: list[str], *, editable: bool) -> None:
    python = ROOT / folder / "bin" / "python"
    stamp = ROOT / folder / "setup.stamp"
    wanted = digest([ROOT / name for name in inputs])

    def there() -> bool:
        return python.exists() and stamp.is_file() and stamp.read_text() == wanted

    def make() -> None:
        uv = _uv() or "uv"
        if not python.exists():
            hint = f"creating {folder} failed; a Python {PYTHONS} is needed"
            _run([uv, "venv", "--quiet", "--python", PYTHONS, str(ROOT / folder)], hint)
        hint = f"installing {inputs[0]} into {folder} failed (see above); is the package index within reach?"
        _run([uv, "pip", "sync", "--quiet", "--python", str(python), inputs[0]], hint)
        if editable:
            _run([uv, "pip", "install", "--quiet", "--python", str(python), "--no-deps", "-e", "."], hint)
        stamp.write_text(wanted)

    _step(what, there, make)


def digest(files: Sequence[Path]) -> str:
    """One digest of the files' contents."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _uv() -> str | None:
    private = ROOT / ".cache" / "uv" / "bin" / "uv"
    return shutil.which("uv") or (str(private) if private.exists() else None)


def _install_uv() -> None:
    folder = ROOT / ".cache" / "uv"
    hint = "uv is missing and could not be installed; install it by hand (pip install uv)"
    _run([sys.executable, "-m", "venv", str(folder)], f"{hint}; on Debian python3-venv is needed")
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"], hint)


def _found(program: str) -> bool:
    home = os.environ.get("JAVA_HOME")
    if program == "java" and home and (Path(home) / "bin" / "java").exists():
        return True
    return shutil.which(program) is not None


def _install_debian(programs: list[str]) -> None:
    by_hand = "; ".join(BY_HAND[program] for program in programs)
    names = [DEBIAN[program] for program in programs]
    if shutil.which("apt-get") is None:
        raise Cannot(f"{', '.join(programs)} missing and there is no apt-get here: {by_hand}")
    if os.geteuid() != 0:
        raise Cannot(f"{', '.join(programs)} missing: run `sudo apt-get install {' '.join(names)}`, or {by_hand}")
    hint = f"apt-get could not install {' '.join(names)} (see above): {by_hand}"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-qq"], hint, quiet)
    _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names], hint, quiet)
    services = [SERVICES[program] for program in programs if program in SERVICES]
    if services and shutil.which("systemctl"):
        subprocess.run(["systemctl", "disable", "--now", *services], check=False, capture_output=True)


def _jars() -> None:
    python = str(ROOT / ".venv" / "bin" / "python")
    ask = [python, "-m", "tidemill.local.kafka"]
    there = subprocess.run([*ask, "--there"], cwd=ROOT, check=False, capture_output=True).returncode == 0
    _step("Kafka's jars", lambda: there, lambda: _run(ask, "Kafka's jars could not be fetched (see above)"))


def _run(command: list[str], hint: str, environ: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=ROOT, env=environ, check=False)
    except OSError as error:
        raise Cannot(f"{command[0]}: {error.strerror}: {hint}") from error
    if done.returncode != 0:
        raise Cannot(hint)


if __name__ == "__main__":
    sys.exit(main())
