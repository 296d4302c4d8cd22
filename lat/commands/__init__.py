"""What `lat` does outside a run."""
