"""What label transfer is held against: other ways to train a detector of the target with the labels of the sources."""
