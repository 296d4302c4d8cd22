"""`relations`: the same as `lat relations`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["relations", *sys.argv[1:]])
