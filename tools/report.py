"""`report`: the same as `lat report`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
