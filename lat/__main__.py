"""`python -m lat` is the `lat` command."""

from lat.cli import main

if __name__ == "__main__":
    main()
