"""Faster R-CNN built from torchvision."""
