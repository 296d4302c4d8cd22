"""The label store: labels of a run as Parquet, a part for each range of images, beside the COCO file that they became."""

from lat.labels.store.arrow import from_arrow, to_arrow
from lat.labels.store.shards import LabelShards, stored_labels

__all__ = ["LabelShards", "from_arrow", "stored_labels", "to_arrow"]
