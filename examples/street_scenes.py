"""Transfer labels between drawn street scenes, and look at the results: a notebook as a script (`# %%` starts a cell).

python examples/street_scenes.py            # a few minutes on two CPU cores
python examples/street_scenes.py --quick    # a few images and steps, to check that everything works
"""

# %% Where to write, and how much to do
import sys
from collections import Counter
from pathlib import Path

import lat
from lat.street_scenes import SceneSettings, draw_street_scenes

QUICK = "--quick" in sys.argv
OUT = Path(next((word for word in sys.argv[1:] if not word.startswith("-")), "runs/example"))
IMAGES = {"city": 4, "nu": 4} if QUICK else {"city": 40, "nu": 100}
STEPS = 5 if QUICK else 400

# %% Two datasets that annotate the same streets by different protocols; only drawn data has `truth`
draw_street_scenes(OUT / "data", SceneSettings(train_images=IMAGES, val_images=2 if QUICK else 20))
other = {"city": "nu", "nu": "city"}
config = {
    "output_dir": str(OUT / "run"),
    "target": "city",
    "datasets": [
        {
            "name": name,
            "images": f"{OUT}/data/{name}/images",
            "annotations": f"{OUT}/data/{name}/train.json",
            "validation": f"{OUT}/data/{name}/val.json",
            "truth": {other[name]: f"{OUT}/data/{name}/truth.{other[name]}.json"},
        }
        for name in IMAGES
    ],
    "upstream": {"training": {"steps": STEPS, "batch_size": 2 if QUICK else 8}},
    "pseudo_label": {"threshold": 0.05 if QUICK else 0.3},
    "transfer": {"decode": {"written_threshold": 0.0 if QUICK else 0.05}},
    "lat": {"training": {"steps": STEPS, "batch_size": 2 if QUICK else 16}},
    "downstream": {"in_run": False},
}

# %% The two class lists differ: neither can be mapped onto the other by name
for name in IMAGES:
    labels = lat.load_labels(OUT / "data" / name / "train.json")
    print(f"{name}: {', '.join(labels.class_names)}")

# %% Everything in one call; a second call would find everything up to date
run = lat.run(config)
for row in run.evaluation["transfer"]:
    ap = "-" if row["ap"] is None else f"{row['ap']:.1f}"
    print(f"{row['source']} -> {row['target']}, {row['method']}: AP {ap}")

# %% The transferred labels: arrays per image, named as in `supervision.Detections`
transferred = run.labels("nu", "city")
for image in transferred:
    sure = image.confidence >= 0.5
    print(image.file_name, dict(Counter(image.data["class_name"][sure].tolist())))

# %% The same as one table, if pandas is installed
try:
    frame = transferred.frame()
except ImportError:
    print("pandas is not installed")
else:
    print(frame.groupby(["class_name", "origin"])["score"].agg(["count", "mean"]).round(2))

# %% Where to go from here
print(f"report: {run.report}")
