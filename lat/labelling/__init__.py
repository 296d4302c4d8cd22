"""From network outputs to labels: class shares, conventions, keep and fuse, calibration, filters."""
