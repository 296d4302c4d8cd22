"""Measure the quality of labels and detectors."""
