"""`pseudo-label`: the same as `lat pseudo-label`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["pseudo-label", *sys.argv[1:]])
