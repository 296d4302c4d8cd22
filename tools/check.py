"""`check`: the same as `lat check`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["check", *sys.argv[1:]])
