"""Plan and execute the steps of a run."""
