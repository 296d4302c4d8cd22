"""Labels as columns, and COCO files; nothing here imports torch."""
