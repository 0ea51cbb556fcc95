"""``python -m tidemill.local.store``: the store from the command line, without a settings file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tidemill.errors import Stop
from tidemill.local.store.database import DatabaseLimits
from tidemill.local.store.main import door_at, serve
from tidemill.local.store.server import MAX_BODY


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the store; returns only when it could not start, with 2."""
    options = _options().parse_args(arguments)
    limits = DatabaseLimits(options.max_threads, options.memory, options.max_queries, query_s=options.timeout)
    try:
        serve(options.path, door_at(options.host, options.port, max_body=options.max_body), limits)
    except Stop as stop:
        print(json.dumps({"event": "error", "message": str(stop)}), flush=True)
    return 2


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tidemill run store", description="ClickHouse's HTTP interface over chDB.")
    parser.add_argument("--path", type=Path, required=True, help="folder of the data; made when missing")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8123, help="port; 0 picks a free one and logs it")
    parser.add_argument("--max-threads", type=int, default=2, help="threads a query may use")
    parser.add_argument("--max-queries", type=int, default=8, help="queries at once; more wait")
    parser.add_argument("--memory", type=int, default=4 << 30, help="bytes chDB may use")
    parser.add_argument("--max-body", type=int, default=MAX_BODY, help="bytes a request's body may have")
    parser.add_argument("--timeout", type=int, default=300, help="seconds a query may take, unless it says otherwise")
    return parser


if __name__ == "__main__":
    sys.exit(main())
