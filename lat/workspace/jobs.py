"""Shard jobs of a run: how another process builds the same job from the run's settings alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lat.config.load import Config
from lat.engine.jobs import Executor, ShardJob
from lat.engine.runtime import seed_everything
from lat.workspace.run_folder import url_folder
from lat.workspace.url_work import RecipeAtUrl
from lat.workspace.workspace import Workspace

Job = TypeVar("Job", bound=ShardJob)

_open: dict[str, Any] = {}  # in a worker: the settings and the run that its last job was of, whose data and features stay loaded


@dataclass(frozen=True)
class JobRecipe:
    """Builds a job in any process that sees the run's files; it can be pickled.

    Attributes:
        config: the run's settings.
        round: the round.
        kind: a class or function at the top of a module: (workspace, **arguments) -> job.
        arguments: what all shards share: plain values and tensors.
    """

    config: Config
    round: int
    kind: Callable[..., ShardJob]
    arguments: Mapping[str, Any]

    def __call__(self) -> ShardJob:
        return self.of(self.config)

    def of(self, config: Config) -> ShardJob:
        """The job of the run with these settings."""
        return self.kind(run_of_worker(config).at(self.round), **self.arguments)


def run_of_worker(config: Config) -> Workspace:
    """The run of these settings in a worker, which works alone; what it has loaded stays for the next job or training."""
    config = replace(config, runtime=replace(config.runtime, executor="local"))
    if _open.get("config") != config:
        _open.update(config=config, run=Workspace(config))
        seed_everything(config.seed)
    run: Workspace = _open["run"]
    return run


def do_shards(workspace: Workspace, kind: Callable[..., Job], **arguments: Any) -> Job:
    """Do every missing shard of a job with the run's executor; all processes of the run call this.

    Args:
        workspace: the run.
        kind: the job's class, or a function at the top of a module that builds one from the run and the arguments.
        arguments: what all shards share.

    Returns:
        The job in this process, all of whose shards exist.
    """
    return _do(workspace, workspace.executor, kind, arguments)


def do_shards_without_device(workspace: Workspace, kind: Callable[..., Job], **arguments: Any) -> Job:
    """The same for a job that needs no device: a process alone lets others on this machine help."""
    return _do(workspace, workspace.devices.executor_without_device, kind, arguments)


def _do(workspace: Workspace, executor: Executor, kind: Callable[..., Job], arguments: Mapping[str, Any]) -> Job:
    job, recipe = kind(workspace, **arguments), JobRecipe(workspace.config, workspace.round, kind, arguments)
    folder = url_folder(workspace.config.output_dir)
    executor.run(job, recipe if folder is None else RecipeAtUrl(recipe, folder.stamps(workspace.files_read)))
    return job
