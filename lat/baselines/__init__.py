"""What label transfer is held against: other ways to use labels of another protocol."""
