"""Label-Aligned Transfer: move object-detection labels between datasets whose class lists and box conventions differ."""

__version__ = "0.1.0"
