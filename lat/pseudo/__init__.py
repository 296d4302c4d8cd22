"""Confidence of labels that a model has drawn."""
