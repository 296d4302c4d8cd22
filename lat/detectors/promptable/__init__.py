"""Detectors of Hugging Face transformers that find what a text asks for, without training."""
