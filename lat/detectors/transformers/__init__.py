"""RT-DETR and Deformable-DETR from transformers."""
