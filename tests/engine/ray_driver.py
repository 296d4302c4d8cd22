"""Be the driver of a Ray cluster that does a counted job, whose last shards never end: FOLDER SHARDS FIRST_OF_THE_LAST."""

import sys
from functools import partial
from pathlib import Path

from counted_job import CountedJob

from lat.engine.ray_executor import Ray

if __name__ == "__main__":
    folder, shards, first = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    job = CountedJob(folder, [2] * shards, gates=dict.fromkeys(range(first, shards), "never"))
    Ray(1, 0, "cpu").run(job, partial(CountedJob, **vars(job)))
