"""`work`: the same as `lat work`, with the same options."""

import sys

from lat.cli import main

if __name__ == "__main__":
    main(["work", *sys.argv[1:]])
