"""`train-downstream`: the same as `lat train-downstream`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["train-downstream", *sys.argv[1:]])
