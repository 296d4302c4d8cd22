"""The `lat` command: `app` lists the commands; the other modules hold one group each.

A command imports what it runs when it runs, so that help and errors come at once.
"""

from lat.cli.app import main

__all__ = ["main"]
