"""From two folders of images with labels to one dataset in your own classes, step by step.

python examples/own_data.py [FOLDER]    # a few seconds of work; everything is written to FOLDER, by default runs/own_data

It is a notebook as a script: an editor runs it cell by cell (`# %%` starts one), and `jupytext --to ipynb` makes it a notebook.
"""

# %% [markdown]
# ## Two datasets
#
# You have images that are labelled the way you want, the *target*; here they are called `ours`. And you have images that
# somebody else labelled, with other classes and other habits; here `theirs`. Each dataset is a folder of images and a COCO file
# of boxes. A second file with images held out from training lets `lat` measure how far its detectors can be trusted.
#
# This walk draws a dozen street scenes for each, as stand-ins. **To use your own**, leave out the line that draws, and write
# your paths instead. What is no COCO file yet, such as a YOLO or Pascal VOC folder, becomes one with `lat.import_`.

# %%
import sys
from pathlib import Path

import lat
from lat.street_scenes import SceneSettings, draw_street_scenes

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/own_data")
draw_street_scenes(FOLDER / "data", SceneSettings(train_images={"city": 12, "nu": 12}, val_images=4))  # leave this out
OURS, THEIRS = FOLDER / "data" / "city", FOLDER / "data" / "nu"  # your folders

datasets = [
    {
        "name": name,
        "images": f"{folder}/images",
        "annotations": f"{folder}/train.json",
        "validation": f"{folder}/val.json",  # without such a file: "validation_fraction": 0.2
    }
    for name, folder in {"ours": OURS, "theirs": THEIRS}.items()
]

# %% [markdown]
# ## Settings
#
# Networks that have seen ImageNet learn fast, and the weights of `efficientnet_lite0` come with `lat`. The steps are few all the
# same, so that the walk takes seconds: expect labels that are better than nothing, and no more. **For your own data**, leave
# `FEW` out: [the defaults](settings.md) take minutes on a CPU, and [on a GPU](quickstart.md#on-a-gpu) larger models pay.

# %%
FEW = {
    "upstream.training.steps": 20,
    "upstream.training.batch_size": 3,
    "lat.training.steps": 8,
    "lat.training.batch_size": 2,
    "rounds.count": 0,
}
SURE = 0.2  # the score from which labels are looked at; 0.5 with better detectors
config = {
    "target": "ours",
    "datasets": datasets,
    "output_dir": str(FOLDER / "run"),
    "downstream": {"in_run": False},  # labels only; True also trains a detector on them
    "upstream": {"model": {"backbone": "efficientnet_lite0", "weights": "pretrained"}, "training": {"learning_rate": 0.002}},
}

# %% [markdown]
# ## Check before anything is trained
#
# Every problem in images and files, each in one line. Notes are worth knowing, and stop nothing.

# %%
check = lat.check(config, FEW)
for line in (*check.problems, *check.notes):
    print(line)
if not check:
    sys.exit("correct the files first")
for name, folder in {"ours": OURS, "theirs": THEIRS}.items():
    print(name, "has the classes", ", ".join(lat.load_labels(folder / "train.json").class_names))

# %% [markdown]
# ## Run
#
# One detector per dataset, what each says of the other's images, the label-transfer model, and the labels. The call can be
# stopped at any time; the same call goes on from there, and once all is done it does nothing.

# %%
run = lat.run(config, FEW, quiet=True)
labels = run.labels("theirs", "ours")
print(labels)
image = labels[0]  # arrays, named as in `supervision.Detections`
for name, score, corners in list(zip(image.data["class_name"], image.confidence, image.xyxy, strict=True))[:3]:
    print(image.file_name, name, f"{score:.2f}", corners.round().tolist())

# %% [markdown]
# ## How the two protocols differ
#
# Which sides of whose boxes lie further out, what is hidden, what has no box: what [`lat conventions`](conventions.md) tells, in
# sentences and as figures.

# %%
for pair in lat.conventions(config, FEW):
    for sentence in pair["sentences"] or ["nothing yet: these detectors have learnt too little"]:
        print("-", sentence)

# %% [markdown]
# ## What became of their labels
#
# [`lat.compare`](comparing.md) takes any two labels files of the same images, whatever their classes: here what they drew, and
# what it became.

# %%
compared = lat.compare(THEIRS / "train.json", run.transferred["theirs", "ours"], min_score=SURE)
for row in compared["classes"]["A"]:
    most = f", most of them as {row['counterpart']}" if row["matched"] else ""
    print(f"{row['class']}: {row['boxes']} boxes, {row['matched']} found again{most}")

# %% [markdown]
# ## The few questions that matter
#
# Where estimates contradict one another, [a word from you](asking.md) settles what more images may not. Answers are a small file;
# `lat.run` with it does again only what depends on them. `lat ask` asks the same on a terminal, with pictures.

# %%
for question in lat.questions(config, FEW, most=3):
    likely = [choice["class"] for choice in question["choices"][: question["listed"]]]
    print(f"What can a {question['class']} of {question['source']} be in {question['target']}? Perhaps", ", ".join(likely))

answers = FOLDER / "answers.yaml"
answers.write_text("theirs:\n  ours:\n    car: [car]\n", encoding="utf-8")
run = lat.run(config, {**FEW, "answers": str(answers)}, quiet=True)

# %% [markdown]
# ## Look at it
#
# [The report](report.md) shows what they drew and what it became side by side, the most doubtful images first, and lets you
# accept, reject and correct labels. Open it in a browser.

# %%
print("report:", run.report)

# %% [markdown]
# ## Take it elsewhere
#
# One dataset with your images and theirs, all in your classes: as YOLO, COCO or Pascal VOC.

# %%
exported = lat.export(run.output_dir, "coco", FOLDER / "export", min_score=SURE)
print(f"exported {exported.images} images with {exported.boxes} boxes to {FOLDER / 'export'}")
