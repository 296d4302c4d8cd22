"""Label transfer as Detectron2 components; importing this package registers them and needs Detectron2.

The names for a Detectron2 configuration: META_ARCHITECTURE `LabelTransferRCNN`, BACKBONE `FrozenDINOv2`, PROPOSAL_GENERATOR
`PrivilegedProposalGenerator`, ROI_HEADS `SemanticFeatureFusionROIHeads`. All four are thin wrappers of `lat.models`.

Raises:
    ImportError: if Detectron2 cannot be imported.
"""

from __future__ import annotations

try:
    import detectron2.modeling  # noqa: F401
except ImportError as error:
    raise ImportError(f"lat.detectron2 needs Detectron2, which cannot be imported ({error}); see docs/detectron2.md") from error

from lat.detectron2.components import FrozenDINOv2, PrivilegedProposalGenerator, SemanticFeatureFusionROIHeads
from lat.detectron2.config_node import add_lat_config, read_lat_config, set_label_spaces
from lat.detectron2.dataset_catalog import register_datasets, registered_datasets, unregister_datasets
from lat.detectron2.loading import LabelTransferMapper, build_test_loader, build_train_loader
from lat.detectron2.meta_arch import LabelTransferRCNN, load_transfer_weights, transfer_weights

__all__ = [
    "FrozenDINOv2",
    "LabelTransferMapper",
    "LabelTransferRCNN",
    "PrivilegedProposalGenerator",
    "SemanticFeatureFusionROIHeads",
    "add_lat_config",
    "build_test_loader",
    "build_train_loader",
    "load_transfer_weights",
    "read_lat_config",
    "register_datasets",
    "registered_datasets",
    "set_label_spaces",
    "transfer_weights",
    "unregister_datasets",
]
