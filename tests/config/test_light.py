"""Reading settings takes no second, because nothing that computes is imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).parents[2] / "configs" / "street_scenes.yaml"
HEAVY = ("torch", "torchvision", "cv2", "timm", "lightning", "lightning_fabric", "ultralytics", "transformers")
READ = f"""
import sys
from pathlib import Path
from lat.config.load import load_config
load_config(Path({str(CONFIG)!r}), ["upstream.model.backbone=resnet50", "lat.backbone.name=dinov2_vitb14"])
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""


def test_a_configuration_is_read_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
