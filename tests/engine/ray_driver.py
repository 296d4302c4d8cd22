"""Do the shards of a counted job, as the driver of a Ray cluster: FOLDER SHARDS SECONDS."""

import sys
from functools import partial
from pathlib import Path

from counted_job import CountedJob

from lat.engine.ray_executor import Ray

if __name__ == "__main__":
    folder, shards, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    job = CountedJob(folder, [2] * shards, seconds=dict.fromkeys(range(shards), seconds))
    Ray(1, 0, "cpu").run(job, partial(CountedJob, job.folder, job.sizes, job.bad, job.seconds))
