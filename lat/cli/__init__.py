"""The `lat` command: `app` has the list of commands; the other modules hold one group each.

Commands import what they run when they run, so that help and errors come at once.
"""

from lat.cli.app import main

__all__ = ["main"]
