"""Benchmarks: how fast Glimpse is on a folder of clips, compared with alternatives on the same clips and machine.

Measures, by default all, in this order (--only decode,latency chooses):

- decode: milliseconds per clip, with OpenCV, PyAV and torchcodec as alternatives;
- features: frames per second through the frozen backbone, with plain PyTorch and ONNX Runtime as alternatives;
- pipeline: seconds for `dvc repro`, for a repeat, for one more clip and for an experiment;
- memory: peak of the stages frames and features, for a quarter of the clips and for all;
- latency: milliseconds from file to prediction and per frame of a stream, of the trained models.

Alternatives take turns in rounds; the medians of the rounds are printed, and the median ratio to the first row. A
package of requirements-bench.txt that is missing, or fails on a clip, is skipped and named.

Reads FOLDER, params.yaml and, for latency, models/all10/. Writes to a temporary folder only.
"""

import argparse
import contextlib
import os
import re
import tempfile
from pathlib import Path

from glimpse.core.settings import read_settings
from glimpse.frames.find_clips import find_clips

ROOT = Path(__file__).resolve().parents[3]
QUICK = ["decode", "features"]
MEASURES = [*QUICK, "pipeline", "memory", "latency"]
MODELS = ("models/all10/model.pt", "models/all10/model.onnx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="clips: <action>/<clip> or <action>/<group>/<clip>")
    parser.add_argument("--quick", action="store_true", help="8 clips, one round; decode and features only")
    parser.add_argument("--only", metavar="MEASURES", default="", help=f"separated by commas: {', '.join(MEASURES)}")
    help_text = f"for latency; default: those of {', '.join(MODELS)} that exist"
    parser.add_argument("--model", metavar="FILE", action="append", help=help_text)


def run(args: argparse.Namespace) -> None:
    chosen = args.only.split(",") if args.only else QUICK if args.quick else MEASURES
    if unknown := [name for name in chosen if name not in MEASURES]:
        raise SystemExit(f"bench: --only {','.join(unknown)}: expected some of {','.join(MEASURES)}")
    throughput = [name for name in chosen if name != "latency"]
    models = args.model or [path for path in MODELS if Path(path).exists()]
    if "latency" in chosen and not models:
        if args.only:
            raise SystemExit(f"{MODELS[0]}: No such file or directory: run `dvc repro` to train it")
        print(f"latency is skipped: {MODELS[0]} does not exist")
    if throughput:
        run_throughput(args.folder, throughput, args.quick)
    if "latency" in chosen and models:
        from glimpse.tools.benchmarks.latency import measure_latency

        measure_latency(models, rounds=1 if args.quick else 15)


def run_throughput(folder: str, measures: list[str], quick: bool) -> None:
    """Run the measures on clips of a folder, and print a table of each."""
    from glimpse.features.extractor import versions
    from glimpse.tools.benchmarks import pipeline, throughput

    clips = [file.name for file in find_clips(folder)[0]]
    sample = clips[:: 1 + len(clips) // (9 if quick else 401)]
    with contextlib.chdir(folder), tempfile.TemporaryDirectory() as work:
        paths = [path for path in sample if throughput.positions_to_decode(path, 1)]
        if len(paths) < 2:
            raise SystemExit(f"bench: {folder} has {len(paths)} usable clips: at least 2 are needed")
        libraries = ", ".join(f"{name} {version}" for name, version in versions().items())
        print(f"{folder}: {len(paths)} clips; {processor()}, {os.cpu_count()} cores; {libraries}")
        if "pipeline" in measures:  # the naive estimate is computed from these
            measures = list(dict.fromkeys([*QUICK, *measures]))
        functions = throughput.decode, throughput.features, pipeline.pipeline, pipeline.memory
        by_name = dict(zip(MEASURES, functions))  # latency is measured elsewhere
        settings = read_settings(ROOT / "params.yaml")
        workload = throughput.Workload(paths, settings, 1 if quick else 5, Path(work))
        for name in measures:
            print(f"\n{name}: {by_name[name].__doc__}", flush=True)
            for row, value, unit, ratio, note in by_name[name](workload):
                print(f"  {row:<37}{value:>8.1f} {unit:<9}x{ratio:<7.3f} {note}", flush=True)
                workload.results[row] = value


def processor() -> str:
    """Name of the processor, where Linux tells it."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1].strip()
    return "CPU"
