"""``tidemill run ROLE``: one role in the foreground."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from tidemill.cli import context
from tidemill.errors import Stop, TidemillError
from tidemill.io.modes import keep_private
from tidemill.roles import ROLES


def run(
    role: Annotated[
        str, typer.Argument(help="One of:\n\n" + "\n\n".join(f"{role}: {does}" for role, (_, does) in ROLES.items()))
    ],
) -> None:
    """Run one role in the foreground until SIGTERM.

    Example: tidemill run sink
    """
    if role not in ROLES:
        raise Stop(f"there is no role {role!r}; choose one of {', '.join(ROLES)}")
    module = importlib.import_module(ROLES[role][0])
    module.run(context.settings())


def main() -> None:
    """``python -m tidemill.cli.run ROLE``: the same without loading the other commands (seconds less per process)."""
    keep_private()
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tidemill.cli.run ROLE")
    try:
        run(sys.argv[1])
    except TidemillError as error:
        print(f"tidemill: {error}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
