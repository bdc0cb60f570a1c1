"""`python -m engine`: the engine's commands. Importing this imports no torch; each command brings what it needs."""

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

HANDED_ON = {    # these read their own arguments
    "measure": ".measure", "bench": ".bench", "train": ".train.command", "evaluate": ".train.evaluate",
    "train clips": ".train.make_clips", "train adapt": ".train.adapt",
    "inspect": ".weights.inspection", "convert": ".weights.convert",
    "need": ".forecast", "models": ".weights.manager",
}
TORCH = {    # read when torch is loaded
    # its threads wait awake for a third of a millisecond, no longer: spinning takes a core from Blender, and falling
    # asleep after every layer cost a quarter of sampling
    "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000",
    # large tensors lie in large pages: a sixth of sampling was the system handing out small ones
    "THP_MEM_ALLOC_ENABLE": "1",
}


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    for name, value in TORCH.items():
        os.environ.setdefault(name, value)
    handed = next((n for n in (2, 1) if " ".join(arguments[:n]) in HANDED_ON), 0)
    if handed:
        try:
            room = importlib.import_module(HANDED_ON[" ".join(arguments[:handed])], __package__)
        except ModuleNotFoundError as error:
            if not str(error.name).startswith(__package__ or "engine"):
                raise
            sys.stderr.write(f"{arguments[0]} is not in the installed add-on: use a clone of the repository\n")
            return 2
        return room.main(arguments[handed:]) or 0
    chosen = parser().parse_args(arguments)
    return {"run": run, "check": check, "worker": worker}[chosen.command](chosen)


def parser() -> argparse.ArgumentParser:
    from .worker import EXIT_CODES
    top = argparse.ArgumentParser("python -m engine", description=__doc__, epilog=EXIT_CODES,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("run", help="run one job folder; the report comes as one line of JSON on stdout")
    command.add_argument("folder", type=Path)
    command = commands.add_parser("check", help="device, versions, weights, free memory and disk, as JSON")
    command.add_argument("folder", type=Path, nargs="?", help="the folder whose disk is meant")
    commands.add_parser("worker", help="take jobs from stdin; what the add-on starts")
    for name, text in (("measure", "how well a take's frames follow the camera, as JSON"),
                       ("bench", "times and memory, phase by phase"), ("train", "make the bundled weights"),
                       ("evaluate", "judge the bundled weights on scenes they never saw"),
                       ("inspect", "what a file of weights is, from its header alone, as JSON"),
                       ("convert", "turn an official .pth into safetensors, once"),
                       ("need", "what a job would need here, before it is captured, as JSON"),
                       ("models", "list, find, fetch, import and remove models")):
        commands.add_parser(name, help=text, add_help=False)
    return top


def run(chosen: argparse.Namespace) -> int:
    from .worker import TERMINATED, attempt, private_stdout
    out, stop = private_stdout(), Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    outcome = attempt(chosen.folder, Ticker(), lambda: stop.signal != 0)
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    if outcome.kind == "done":
        out.write(json.dumps(outcome.report).encode() + b"\n")
    else:
        sys.stderr.write(outcome.reason + "\n")
    return TERMINATED if outcome.kind == "cancelled" and stop.signal == signal.SIGTERM else outcome.code


class Stop:
    """A signal's handler that remembers which one came; the job sees it between two blocks."""

    signal = 0

    def __call__(self, number: int, _frame: Any) -> None:
        self.signal = number


class Ticker:
    """Progress on stderr: one line that changes for people, a line a step for files. Notes stay."""

    def __call__(self, news: dict[str, Any]) -> None:
        if "note" in news:
            sys.stderr.write("\r" * sys.stderr.isatty() + str(news["note"]) + "\n")
        if "phase" in news:
            eta = f", {news['eta']:.0f} s left" if news.get("eta") else ""
            text = news["phase"] + (f" {news['step']}/{news['steps']}{eta}" if news.get("steps") else "")
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r{text:<{width}.{width}}" if sys.stderr.isatty() else text + "\n")
            sys.stderr.flush()


def check(chosen: argparse.Namespace) -> int:
    from .check import report
    from .worker import private_stdout
    out = private_stdout()
    values = report(chosen.folder)
    out.write(json.dumps(values, indent=1).encode() + b"\n")
    return 1 if values["problems"] else 0


def worker(_: argparse.Namespace) -> int:
    from .worker import main as loop
    return loop()


if __name__ == "__main__":
    sys.exit(main())
