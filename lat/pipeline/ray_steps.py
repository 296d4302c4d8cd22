"""Training steps of a run on its Ray cluster: each group of steps is done whole in workers, as a run of its own would do it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from lat.config.load import Config
from lat.core.url_folder import Stamps
from lat.engine import announce
from lat.engine.ray_cluster import count_gpus, join_cluster, require_seen
from lat.engine.ray_training import train_in_groups
from lat.stages.label_transfer import share_out_features
from lat.workspace.jobs import run_of_worker
from lat.workspace.run_folder import url_folder
from lat.workspace.steps import RunSteps, Step
from lat.workspace.url_work import training_at_url
from lat.workspace.workspace import Workspace

TRAINING = ("train-upstream", "train-lat", "train-downstream")


@dataclass(frozen=True)
class GroupOfSteps:
    """Runs a group of steps in any process that sees the run's files, or their URL; it can be pickled.

    Attributes:
        config: the run's settings.
        round: the round.
        run: see `Step`.
        due: see `RunSteps`.
        folders: where their outputs are, relative to the run's folder.
        needs: the run's files that they read; only if the folder is at a URL.
    """

    config: Config
    round: int
    run: RunSteps
    due: Mapping[str, str]
    folders: tuple[str, ...]
    needs: Stamps

    @classmethod
    def of(cls, workspace: Workspace, steps: Sequence[Step], hashes: Mapping[str, str]) -> GroupOfSteps:
        root, at_url = workspace.paths.root, url_folder(workspace.config.output_dir)
        folders = dict.fromkeys(path.parent.relative_to(root).as_posix() for step in steps for path in step.outputs)
        files = workspace.reading(path for step in steps for path in step.inputs).files_read
        needs: Stamps = {} if at_url is None else at_url.stamps(files)
        due = {step.member: hashes[step.title] for step in steps}
        return cls(workspace.config, workspace.round, steps[0].run, due, tuple(folders), needs)

    def __call__(self) -> None:
        """Run them as a run of this process alone."""
        if url_folder(self.config.output_dir) is None:
            self._run_in(self.config)
            return
        with training_at_url(self.config, self.needs, self.folders) as config:
            self._run_in(config)

    def _run_in(self, config: Config) -> None:
        self.run(run_of_worker(config).at(self.round), due=self.due)


def train_on_ray(workspace: Workspace, groups: Sequence[Sequence[Step]], hashes: Mapping[str, str]) -> Iterator[Sequence[Step]]:
    """Run groups of training steps: side by side if one worker does each, or one after another on all GPUs.

    Args:
        workspace: the run, seen from the round of the steps.
        groups: the steps of each group, all of one stage.
        hashes: the input hash of each step by its title.

    Yields:
        The steps of each group, as it is done and its files are seen.
    """
    runtime = workspace.config.runtime
    at_url, stage = url_folder(workspace.config.output_dir), groups[0][0].stage
    gpus = count_gpus(join_cluster(), runtime.device_kind)
    functions = [GroupOfSteps.of(workspace, steps, hashes) for steps in groups]
    workers = workers_of(workspace.config, stage, gpus)
    for steps in groups:
        announce.event("stage_begun", **described(steps))
    start = time.monotonic()
    if stage == "train-lat":
        share_out_features(workspace)
    if workers == 1:
        done = workspace.devices.on_ray.do_each(functions, f"{stage} on Ray")
    else:
        workspace.devices.release()  # those who do shards may hold every GPU
        place = str(workspace.paths.root) if at_url is None else at_url.url
        done = train_in_groups(functions, f"{place}/.work/ray", workers=workers)
    for number in done:
        if at_url is not None:
            for folder in functions[number].folders:
                at_url.pull(folder)
        require_seen(path for step in groups[number] for path in step.outputs)
        announce.event("stage_done", **described(groups[number]), seconds=round(time.monotonic() - start, 3))
        yield groups[number]


def described(steps: Sequence[Step]) -> dict[str, Any]:
    """What programs are told of the steps of a group."""
    first, members = steps[0], [step.member for step in steps if step.member]
    return {"stage": first.stage, "round": first.round, "group": first.group, "members": members}


def workers_of(config: Config, stage: str, gpus: int) -> int:
    """How many workers share out each batch of a stage's training: a GPU each, as long as every batch can be divided."""
    runtime, downstream = config.runtime, config.downstream
    batches = {
        "train-upstream": [one.training.batch_size for one in config.upstream.all_members],
        "train-lat": [config.lat.training.batch_size],
        "train-downstream": [downstream.training.batch_size],
    }[stage]
    is_alone = stage == "train-upstream" and runtime.upstream_parallel == "datasets"
    is_alone |= stage == "train-downstream" and downstream.model.detector == "yolo"
    if is_alone:
        return 1
    shared = gcd(*batches)
    return max(number for number in range(1, max(1, gpus) + 1) if shared % number == 0)
