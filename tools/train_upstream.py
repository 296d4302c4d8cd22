"""`train-upstream`: the same as `lat train-upstream`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["train-upstream", *sys.argv[1:]])
