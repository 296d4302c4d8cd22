"""Augmentation of images together with their boxes."""
