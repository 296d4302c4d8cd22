"""One training loop, checkpoints and sampling."""
