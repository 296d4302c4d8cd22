"""Labels as columns, and the COCO files that hold them; nothing here imports torch."""
