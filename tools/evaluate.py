"""`evaluate`: the same as `lat evaluate`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
