"""Frozen backbones of the label-transfer model."""
