"""The files, data and records of a run."""
