"""YOLO from ultralytics."""
