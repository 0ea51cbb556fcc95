"""A piece of work for the launcher's tests: ``python -m tests.unit.retrain.some_work --spec SPEC``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--spec", type=Path, required=True)
file = parser.parse_args().spec
spec = json.loads(file.read_text())
told = {"nice": os.nice(0), "threads": os.environ["OMP_NUM_THREADS"], "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}
print(json.dumps({"step": 1, "of": 2, "pid": os.getpid(), **told}), flush=True)
if spec["do"] == "hang":
    signal.pause()
if spec["do"] == "crash":
    print("it broke", file=sys.stderr)
    sys.exit(1)
file.with_name("result.json").write_text(json.dumps({"fine": True}))
