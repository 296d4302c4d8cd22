"""Weights & Biases: https://docs.wandb.ai; with `WANDB_MODE=offline` files in the run's folder, which `wandb sync` uploads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lat.core.errors import InputError
from lat.engine.announce import say
from lat.engine.tracked_run import TrackedRun

_SECONDS = 30  # to reach the server, and to upload at the end; what is not uploaded stays in the folder
_CODES = {"finished": 0, "failed": 1, "killed": 130}


class WandbTracker:
    """A run of Weights & Biases.

    Args:
        run: its project, its name, and the folder in which `wandb/` gets its files.
        known: the id of a run to go on with, if there is one.
        new: the id of another one.

    Raises:
        Exception: of wandb, if the server cannot be reached; so do the methods.
    """

    def __init__(self, run: TrackedRun, known: str | None, new: str) -> None:
        import wandb

        self.id = known or new
        run.folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=run.project,
            name=run.name,
            group=run.name.partition("/")[2],
            id=self.id,
            resume="allow",
            reinit="create_new",
            dir=str(run.folder),
            config=dict(run.settings),
            settings=_settings(wandb),
        )
        if self._run.url:
            say(f"wandb: {self._run.url}")

    @staticmethod
    def check() -> None:
        """Raise an `InputError` if figures go to a server and nobody has logged in: wandb would ask in the middle of a run."""
        import wandb

        mode = wandb.setup(settings=wandb.Settings(silent=True)).settings.mode
        if mode in ("online", "run", "shared") and not wandb.login(verify=False, prompt=False):
            remedy = "run `wandb login`, or set WANDB_MODE=offline"
            raise InputError("training.trackers", "names wandb, and nobody has logged in to it here", remedy)

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Show figures by name."""
        self._run.log(dict(figures), step=step)

    def close(self, outcome: str) -> None:
        """Wait, but not for long, until all is uploaded."""
        self._run.finish(exit_code=_CODES[outcome])


def _settings(wandb: Any) -> Any:
    """Figures alone: no console, code, machine or packages."""
    return wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_stats=True,
        x_save_requirements=False,
        init_timeout=_SECONDS,
        finish_timeout=_SECONDS,
    )
