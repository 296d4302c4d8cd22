"""A process that has imported `lat` and forks one for each run asked for, so that a run costs no start; see `fault_runs.py`.

Orders come as JSON lines on standard input: {"start": {"arguments", "log", "plan"}} is answered by {"pid"}, and {"wait": pid} by
{"status"}, negative for a signal.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

MODULES = (
    *("lat.cli", "lat.pipeline.run", "lat.commands.results", "lat.cli.tables.evaluation", "lat.stages.report"),
    *("lat.detectors.torchvision.faster_rcnn", "tensorboard.summary.writer.record_writer", "lat.workspace.run_lock"),
)


def main() -> None:
    """Do orders until standard input ends."""
    for name in MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            status = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
            print(json.dumps({"status": status}), flush=True)
        elif pid := os.fork():
            print(json.dumps({"pid": pid}), flush=True)
        else:
            run(**order["start"])


def run(arguments: list[str], log: str, plan: dict[str, Any]) -> None:
    """Be `lat ARGUMENTS`: what it prints goes to files beside each other, and how many events it came to."""
    for descriptor, ending in ((1, "out"), (2, "err")):
        file = os.open(f"{log}.{ending}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell start with it ignored
    sys.argv = ["lat", *arguments]
    shim = _planned(log, plan)
    try:
        importlib.import_module("lat.cli").main()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    end_of_group(plan, begun=plan["group"])
    shim.fault_plan(b"", 0, 0, 0)
    Path(f"{log}.events").write_text(str(shim.fault_total()))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _planned(log: str, plan: dict[str, Any]) -> ctypes.CDLL:
    """Tell the shim below this process what to do: at once, or when a group of steps begins."""
    shim = ctypes.CDLL(None)
    shim.fault_plan.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_int]
    shim.fault_clock.argtypes = [ctypes.c_long]
    shim.fault_total.restype = ctypes.c_long
    shim.fault_clock(plan["clock_seconds"])
    folder, begun, armed = plan["folder"].encode(), time.process_time(), ""
    shim.fault_plan(folder, 0 if plan["group"] else plan["mode"], plan["at"], plan["number"])
    announce: Any = importlib.import_module("lat.engine.announce")
    tell = announce.event

    def event(name: str, /, **fields: Any) -> None:
        nonlocal armed
        if name == "stage_begun":
            end_of_group(plan, begun=armed)
        tell(name, **fields)
        if name == "stage_begun":
            title = title_of(fields)
            with open(f"{log}.moments", "a", encoding="utf-8") as file:
                file.write(json.dumps([title, shim.fault_total(), time.process_time() - begun]) + "\n")
            if title == plan["group"]:
                armed = title
                shim.fault_plan(folder, plan["mode"], plan["at"], plan["number"])

    announce.event = event
    return shim


def end_of_group(plan: dict[str, Any], begun: str) -> None:
    """Die at the latest with the group of steps in which the plan has it: how many calls it comes to may differ by a few."""
    if begun and plan["is_kill"]:
        os.kill(os.getpid(), signal.SIGKILL)


def title_of(told: dict[str, Any], member: str = "") -> str:
    """The title of a group of steps of which programs are told, or of one of its members."""
    ending = f"round {told['round']}" if told["round"] else ""
    return " ".join(part for part in (told["stage"], told["group"], member, ending) if part)


if __name__ == "__main__":
    main()
