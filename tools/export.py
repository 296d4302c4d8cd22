"""`export`: the same as `lat export`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
