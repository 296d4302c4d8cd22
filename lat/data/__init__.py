"""Datasets: images, labels, augmentation, checks."""
