"""Cached features that nothing uses any more: of other weights, other images, or another number format."""

from __future__ import annotations

from collections.abc import Callable

from lat.engine.checkpoint import load_checkpoint
from lat.models.feature_files import files_in_use, remove_others
from lat.workspace.workspace import Workspace


def remove_unused_features(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Remove the files in the run's feature cache that no round would read, and say how much that was.

    In use are the maps of the training and the held-out images of all datasets, under the backbone on which the label-transfer
    model of each round was trained; none, unless `lat.backbone.cache` is disk. As long as a round has no model, all are kept.
    """
    folder, settings = workspace.paths.features, workspace.config.lat.backbone
    if not folder.is_dir():
        return
    in_use = set()
    if settings.cache == "disk":
        models = [of_round.paths.transfer_model for of_round in workspace.rounds()]
        if not all(model.is_file() for model in models):
            return
        data = workspace.data
        parts = [{name: part(name) for name in workspace.names} for part in (data.train_part, data.held_out_part)]
        try:
            for fingerprint in {load_checkpoint(model, "label_transfer")["backbone"] for model in models}:
                for sources in parts:
                    in_use |= files_in_use(folder, fingerprint, sources, settings.cache_dtype)
        except OSError:  # an image is not there now; its features may be wanted when it is back
            return
    count, size = remove_others(folder, in_use)
    if count:
        say(f"removed {count} file{'s' * (count != 1)} of cached features that nothing uses any more ({size / 2**20:,.1f} MiB)")
