"""`train-lat`: the same as `lat train-lat`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["train-lat", *sys.argv[1:]])
