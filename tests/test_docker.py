"""The image and the manifests of docker/: linted, held against their schemas, and the image's pip steps done without Docker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
OF_THE_IMAGE = re.compile(r"(torch|torchvision|torchaudio|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)$")
RUN = ["torchrun", "-m", "lat", "run"]


def instructions(word: str) -> list[str]:
    """What stands behind an instruction of the Dockerfile, continued lines as one."""
    text = re.sub(r"\\\n\s*", "", (DOCKER / "Dockerfile").read_text(encoding="utf-8"))
    return [line.removeprefix(word).strip() for line in text.splitlines() if line.startswith(f"{word} ")]


def parsed(name: str) -> Any:
    return yaml.safe_load((DOCKER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "command",
    [
        ["hadolint", "docker/Dockerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker/compose.yaml"],
        ["kubernetes-validate", "--strict", "docker/kubernetes_job.yaml"],
    ],
    ids=lambda command: command[0],
)
def test_linter_and_schemas_find_nothing(command: list[str]) -> None:
    tool = shutil.which(command[0], path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_context_has_what_is_copied_and_nothing_else() -> None:
    sources = {source for line in instructions("COPY") for source in line.split()[:-1]}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


def test_the_base_image_has_the_tested_torch() -> None:
    (base,) = [line for line in instructions("ARG") if line.startswith("BASE=")]
    (torch_version,) = re.findall(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert base.startswith(f"BASE=pytorch/pytorch:{torch_version}-cuda")
    assert base.endswith("-runtime")


def test_compose_and_kubernetes_start_a_process_a_gpu_and_cannot_write_the_data() -> None:
    service = parsed("compose.yaml")["services"]["lat"]
    assert [word for word in service["command"] if word in RUN] == RUN
    assert "--nproc-per-node=${LAT_PROCESSES:-4}" in service["command"]
    assert [volume.endswith(":ro") for volume in service["volumes"] if ":/data" in volume] == [True]
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["count"] == "all"
    pod = parsed("kubernetes_job.yaml")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert [word for word in container["command"] if word in RUN] == RUN
    assert f"--nproc-per-node={container['resources']['limits']['nvidia.com/gpu']}" in container["command"]
    assert [mount["readOnly"] for mount in container["volumeMounts"] if mount["name"] == "data"] == [True]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_kuberay_starts_one_driver_and_workers_that_each_have_a_gpu_and_see_the_same_folders() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    job = parsed("kuberay_job.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["entrypoint"].split()[:2] == ["lat", "run"]
    assert "runtime.executor=ray" in job["spec"]["entrypoint"].split()
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert cluster["rayVersion"] in re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], workers)]
    for pod in pods:
        resource = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lat"}, "spec": pod}
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
        (container,) = pod["containers"]
        assert [mount["readOnly"] for mount in container["volumeMounts"] if mount["name"] == "data"] == [True]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    head, worker = (pod["containers"][0] for pod in pods)
    assert head["volumeMounts"] == worker["volumeMounts"]
    assert pods[0]["volumes"] == pods[1]["volumes"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1


def link_torch(venv: Path, folder: Path) -> None:
    """Give a virtual environment this environment's torch from a folder of its own, as the image has it before our steps."""
    folder.mkdir()
    for one in distributions():
        if OF_THE_IMAGE.match(one.name.lower()):
            tops = {file.parts[0] for file in one.files or () if file.parts[0] != ".."}
            for top in tops:
                if not (folder / top).exists():
                    (folder / top).symlink_to(one.locate_file(top))  # type: ignore[arg-type]
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "image.pth").write_text(f"{folder}\n")


def write_wheel(folder: Path) -> Path:
    """An empty wheel by the name of detectron2."""
    path = folder / "detectron2-0.6-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        info = "detectron2-0.6.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: detectron2\nVersion: 0.6\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@pytest.mark.skipif(not os.environ.get("LAT_DOCKER_CHECK"), reason="installs everything anew, minutes: make docker-check")
def test_the_steps_of_the_image_work_in_a_clean_environment(tmp_path: Path) -> None:
    venv, context = tmp_path / "venv", tmp_path / "context"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    link_torch(venv, tmp_path / "image")
    for source in (source for line in instructions("COPY") for source in line.split()[:-1]):
        (context / source).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, context / source)
    wheel = write_wheel(context / "docker" / "wheels")
    arguments = {name: value.strip('"') for name, _, value in (line.partition("=") for line in instructions("ARG"))}
    path = f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **arguments, "PATH": path, "DETECTRON2": str(wheel.relative_to(context))}
    environment.pop("PYTHONPATH", None)
    steps = [line for line in instructions("RUN") if "pip" in line]
    assert len(steps) == 3
    for step in steps:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", step], cwd=context, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{step}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    imports = "import torch, torchvision, transformers, fvcore, lat; print(torch.__file__)"
    done = subprocess.run(["python3", "-c", imports], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "image"), done.stderr
    assert "torch==" in (context / "image.txt").read_text()
