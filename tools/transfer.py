"""`transfer`: the same as `lat transfer`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["transfer", *sys.argv[1:]])
