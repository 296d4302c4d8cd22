"""Train the line in as many processes as torchrun starts, and write into the folder that is the first argument."""

import sys
from pathlib import Path

from regression import Line, Points, settings, train_line

if __name__ == "__main__":
    train_line(Path(sys.argv[1]), Line(), Points(0.1), settings(ema_decay=0.5))
