"""What every room may use: errors, files, label spaces, boxes, and the structures that hold them."""
