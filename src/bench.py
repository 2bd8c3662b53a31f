"""Tool: how fast Glimpse is on a folder of clips, beside other ways of doing the same work on the same clips.

Run: python src/bench.py FOLDER [--quick] [--only decode,features,pipeline,memory]

Competitors take turns in rounds; shown are medians of the rounds and of the ratios, within a round, to the first row.
A peer of requirements-bench.txt that can't be loaded or fails on a clip is skipped. Writes to a temporary folder.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil  # comes with DVC
import torch

from glimpse.core import frame_store as store
from glimpse.core import sampling, tables
from glimpse.core.settings import read
from glimpse.features import backbone
from glimpse.features import extractor as engine
from glimpse.features import views as looks
from glimpse.frames import dataset as clips
from glimpse.frames import decoder as video

ROOT, CORES = Path(__file__).resolve().parents[1], os.cpu_count() or 1
NOT_COPIED = ".git .dvc .venv .cache __pycache__ dvc.lock demo frames *.npy models metrics".split()
SET_UP = ("git init -q", "git config user.name bench", "git config user.email bench@localhost", "dvc init -q",
          "dvc config core.analytics false", "git add -A", "git commit -qm bench")  # fmt: skip
STEPS = {"ours: first dvc repro": "dvc repro", "again, nothing changed": "dvc repro", "one clip added": "dvc repro",
         "dvc exp run -S frames=5": "dvc exp run -S frames=5"}  # fmt: skip
Rows = Iterator[tuple[str, float, str, float, str]]  # what, value, unit, ratio to the first row's, note


def opencv(path: str, positions: list[int], how: str = "wanted") -> list[np.ndarray]:
    """OpenCV: `seek` each position, or decode every frame and convert those `wanted` (as we do), `all`, or `none`."""
    reader, kept, count = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]), {}, 0
    if how == "seek":
        return [reader.read()[1] for position in positions if reader.set(cv2.CAP_PROP_POS_FRAMES, position)]
    while reader.grab():
        if how == "all" or (how == "wanted" and count in positions):
            kept[count] = reader.retrieve()[1]
        count += 1
    return [kept[position] for position in positions if position in kept]


def pyav(path: str, positions: list[int]) -> list[np.ndarray]:
    """PyAV: every frame decoded, those wanted converted."""
    with import_module("av").open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = enumerate(container.decode(video=0))
        kept = {count: frame.to_ndarray(format="bgr24", threads=1) for count, frame in frames if count in positions}
    return [kept[position] for position in positions]


def torchcodec(path: str, positions: list[int], mode: str = "exact") -> list[np.ndarray]:
    """torchcodec: `exact` scans the file for its frames first, `approximate` trusts what the file states."""
    open_clip = import_module("torchcodec.decoders").VideoDecoder
    decoder = open_clip(path, num_ffmpeg_threads=1, dimension_order="NHWC", seek_mode=mode)
    return list(decoder.get_frames_at(positions).data.numpy()[..., ::-1])


DECODERS: dict[str, Callable[..., list[np.ndarray]]] = {"ours: OpenCV, grab and retrieve": opencv,  # BGR, one thread
            "OpenCV, read all": partial(opencv, how="all"), "OpenCV, seek": partial(opencv, how="seek"), "PyAV": pyav,
            "torchcodec": torchcodec, "torchcodec, approximate": partial(torchcodec, mode="approximate")}  # fmt: skip


def plan(path: str, wanted: int) -> list[int] | None:
    """Evenly spread positions among the frames that can really be decoded; None if the clip isn't usable."""
    with suppress(video.UnreadableClip):
        return sampling.evenly_spaced(video.read_clip(path, 2, 32).frames, wanted).tolist()
    return None


def stage_frames(path: str, positions: list[int] | None, s: SimpleNamespace) -> store.StoredClip:
    """What the stage `frames` makes of a clip, which finds the positions itself: its `Stored` candidates."""
    return store.StoredClip.from_clip(video.read_clip(path, s.candidates, s.frame_size))


def apart(decoder: Callable[..., list[np.ndarray]], path: str, positions: list[int]) -> float | str:
    """Mean difference from our frames in grey levels (of 255), or, in words, why the decoder fails."""
    try:
        pairs = zip(decoder(path, positions), opencv(path, positions), strict=True)
        return float(np.mean([cv2.absdiff(np.ascontiguousarray(theirs), ours).mean() for theirs, ours in pairs]))
    except Exception as error:  # other people's code: any kind
        return (str(error).strip() or type(error).__name__).splitlines()[0]


def drop(decoder: Callable[..., object], path: str, positions: list[int]) -> None:
    """Decode and leave the frames in the worker, so that sending them back isn't timed."""
    decoder(path, positions)


def turns(competitors: Mapping[str, Callable[[], object]], rounds: int) -> Iterator[tuple[str, float, float]]:
    """Run functions in turns: rows of name, median seconds, median ratio to the first one's."""
    seconds = np.zeros((rounds, len(competitors)))
    for place in np.ndindex(seconds.shape):
        began = time.perf_counter()
        list(competitors.values())[place[1]]()
        seconds[place] = time.perf_counter() - began
    return zip(competitors, np.median(seconds, 0), np.median(seconds / seconds[:, :1], 0), strict=True)


def decode(paths: list[str], s: SimpleNamespace, rounds: int, *_: object) -> Rows:
    """A clip's candidates, by the clock, with a worker process on each core."""
    paths, competitors, notes = paths[:: 1 + len(paths) // 61], {}, {}
    others: dict[str, Callable] = {"floor: ours, all dropped": partial(opencv, how="none"),
                                   "ours, whole stage": partial(stage_frames, s=s)}  # fmt: skip
    with ProcessPoolExecutor(CORES, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        plans = list(pool.map(partial(plan, wanted=s.candidates), paths))
        for name, decoder in (DECODERS | others).items():
            far = list(pool.map(partial(apart, decoder), paths, plans)) if name in DECODERS else []
            if failures := [words for words in far if isinstance(words, str)]:
                print(f"  {name} is skipped: fails on {len(failures)} of {len(paths)} clips: {failures[0]}")
                continue
            competitors[name] = partial(lambda job: list(pool.map(job, paths, plans)), partial(drop, decoder))
            notes[name] = f"n = {len(paths)}" + (f", {np.array(far).mean():.2f} grey levels from ours" if far else "")
        for name, seconds, ratio in turns(competitors, rounds):
            yield name, seconds / len(paths) * 1000, "ms/clip", ratio, notes[name]


def features(paths: list[str], s: SimpleNamespace, rounds: int, *_: object) -> Rows:
    """Frames through the frozen backbone, a clip's candidates at a time; all get the same uint8 frames."""
    paths, look = (
        paths[: CORES * rounds],
        looks.ViewConfig(s.features.input_size, s.features.crop, s.features.rgb_diff, flow=False),
    )
    seen = np.concatenate([looks.clean_views(stage_frames(path, None, s), look).swapaxes(0, 1) for path in paths])
    threads, cpu = torch.get_num_threads(), torch.device("cpu")
    network, folded = (backbone.load_backbone(backbone.pretrained_weights(s.features.weights)) for _ in range(2))
    folded = backbone.fuse_conv_bn(folded).to(memory_format=torch.channels_last)
    session = engine.onnxruntime.InferenceSession(engine.to_onnx(folded), providers=["CPUExecutionProvider"])

    def plain(batch: torch.Tensor) -> torch.Tensor:
        return network.features((batch.permute(0, 3, 1, 2).contiguous() - network.mean) / network.std).mean((2, 3))

    def ours(run: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        torch.set_num_threads(1)  # as the stage does: each core looks by itself
        with ThreadPoolExecutor(CORES) as pool:
            return np.concatenate(list(pool.map(run, seen)))

    @torch.inference_mode()
    def theirs(run: Callable[[torch.Tensor], torch.Tensor | np.ndarray]) -> np.ndarray:
        torch.set_num_threads(threads)
        return np.concatenate([np.asarray(run(batch)) for batch in torch.from_numpy(seen)])

    ways = {
        f"ours: {how}": partial(ours, engine.frozen_extractor(network, cpu, how)) for how in ("float32", "bfloat16")
    } | {
        "PyTorch, plain batch": partial(theirs, plain),
        "PyTorch, channels last, norms folded": partial(theirs, folded),
        "ONNX Runtime, its own threads": partial(theirs, lambda batch: session.run(None, {"frames": batch.numpy()})[0]),
    }
    wanted = theirs(plain)
    shares = {name: np.abs(run() - wanted).mean() / np.abs(wanted).mean() for name, run in ways.items()}
    if wrong := [name for name, share in shares.items() if share > 0.005 and "bfloat16" not in name]:
        raise SystemExit(f"bench: features differ from the plain batch's: {', '.join(wrong)}")
    for name, seconds, ratio in turns(ways, rounds):
        yield name, len(wanted) / seconds, "frames/s", 1 / ratio, f"n = {len(wanted)}, {shares[name]:.2%} from plain"


def run(folder: Path, command: str) -> tuple[float, float]:
    """Seconds that a command takes, and the peak in MB of what it and its children have in memory at one time."""
    peak, log, began = 0, folder.with_name("log.txt"), time.perf_counter()
    with open(log, "w") as out, psutil.Popen(command.split(), cwd=folder, stdout=out, stderr=out) as running:
        while running.poll() is None:
            with suppress(psutil.Error):
                peak = max(peak, sum(one.memory_info().rss for one in [running, *running.children(recursive=True)]))
            time.sleep(0.02)
    if running.returncode:
        raise SystemExit(f"bench: {command}: {'; '.join(filter(None, log.read_text().splitlines()[-4:]))}")
    return time.perf_counter() - began, peak / 1e6


def project(folder: Path, paths: list[str]) -> Path:
    """A copy of the repository, and beside it the data set: links to these clips."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    settings = re.sub("(?m)^dataset: .*", f"dataset: ../{folder.name}-clips", (ROOT / "params.yaml").read_text("utf-8"))
    (folder / "params.yaml").write_text(settings, "utf-8")
    for path in paths:
        place = folder.with_name(f"{folder.name}-clips") / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(Path(path).absolute())
    return folder


def pipeline(paths: list[str], s: SimpleNamespace, rounds: int, work: Path, done: dict[str, float]) -> Rows:
    """All stages; and the naive way, which decodes in every epoch and has a MobileNetV2 for every frame position."""
    folder, first, new = project(work / "pipeline", paths[:-1]), None, [0, 0]
    for command in SET_UP:
        run(folder, command)
    for what, command in STEPS.items():
        if what == "one clip added":
            (work / "pipeline-clips" / paths[-1]).symlink_to(Path(paths[-1]).absolute())
        seconds, _ = run(folder, command)
        held, new = new, [len(list((folder / ".cache" / stage).glob("*/*"))) for stage in ("frames", "features")]
        if not first:
            first, learned = seconds, sum(tables.read_table(folder / "data/split.csv", ["part"])["part"] != "test")
            epochs = [len(tables.read_table(folder / f"models/{a}/history.csv", [])) for a in ("first5", "all10")]
        yield what, seconds, "s", seconds / first, f"{new[0] - held[0]} clips decoded, {new[1] - held[1]} looked at"
    uses = s.first5.num_frames, s.frames if s.all10.num_frames == "all" else s.all10.num_frames
    costs = [done["OpenCV, read all"] / 1000 + use / done["PyTorch, plain batch"] for use in uses]  # seconds a clip
    naive = learned * np.dot(epochs, costs)
    note = f"no less, extrapolated: {learned} clips x {epochs} epochs, read all + {uses} plain looks, no training"
    yield "the naive way", naive, "s", naive / first, note


def state_size(paths: list[str], s: SimpleNamespace, rounds: int, work: Path, *_: object) -> Rows:
    """Peak of a stage with its workers, for a quarter of the clips and for all."""
    folders = {len(paths[::step]): project(work / f"memory-{step}", paths[::step]) for step in (4, 1)}
    for stage in ("frames", "features"):
        peaks = {held: run(folder, f"python src/{stage}.py")[1] for held, folder in folders.items()}
        for held, peak in peaks.items():
            yield f"{stage}, {held} clips", peak, "MB", peak / next(iter(peaks.values())), ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="of clips: <action>/<clip>")
    parser.add_argument("--quick", action="store_true", help="8 clips, one round, decode and features only")
    parser.add_argument("--only", default="", help="measures, with commas between them")
    given, measures = parser.parse_args(), {one.__name__: one for one in (decode, features, pipeline, state_size)}
    s = read("candidates", "frame_size", "frames", "first5", "all10", "features", path=ROOT / "params.yaml")
    chosen = given.only.split(",") if given.only else list(measures)[: 2 if given.quick else None]
    if unknown := [name for name in chosen if name not in measures]:
        raise SystemExit(f"bench: --only {','.join(unknown)}: expected some of {','.join(measures)}")
    if "pipeline" in chosen:  # the naive way is reckoned from these
        chosen = list(dict.fromkeys(["decode", "features", *chosen]))
    found = [one.clip for one in clips.find_clips(given.folder)[0]]
    os.chdir(given.folder)
    os.environ["DVC_NO_ANALYTICS"] = "1"  # of `dvc init` too, which comes before any setting
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    paths = [path for path in found[:: 1 + len(found) // (9 if given.quick else 401)] if plan(path, 1)]
    if len(paths) < 2:
        raise SystemExit(f"bench: {given.folder} has {len(paths)} usable clips: at least 2 are needed")
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if sys.platform == "linux" else None
    versions = f"OpenCV {cv2.__version__}, PyTorch {torch.__version__}, ONNX Runtime {engine.onnxruntime.__version__}"
    print(f"{given.folder}: {len(paths)} clips; {cpu.group(1) if cpu else 'CPU'}, {CORES} cores; {versions}")
    done: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as work:
        for name in chosen:
            print(f"\n{name}: {measures[name].__doc__}", flush=True)
            for what, value, unit, ratio, note in measures[name](paths, s, 1 if given.quick else 5, Path(work), done):
                print(f"  {what:<37}{value:>8.1f} {unit:<9}x{ratio:<7.3f} {note}", flush=True)
                done[what] = value


if __name__ == "__main__":
    main()
