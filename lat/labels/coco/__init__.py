"""COCO JSON: scanning, reading and writing."""
