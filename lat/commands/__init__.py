"""The commands of `lat` outside a run."""
