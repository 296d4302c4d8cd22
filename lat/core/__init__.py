"""What every package may use: errors, files, label spaces, boxes, and data structures."""
