"""`import`: the same as `lat import`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["import", *sys.argv[1:]])
