"""Faster R-CNN from Detectron2."""
