"""From what networks say to labels: class shares, conventions, keep and fuse, calibration, filters."""
