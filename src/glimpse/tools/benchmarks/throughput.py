"""Benchmarks of decoding and of feature extraction, each with alternatives that do the same work."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import torch

from glimpse.core.frame_store import StoredClip
from glimpse.core.sampling import evenly_spaced
from glimpse.core.settings import Settings
from glimpse.features.backbone import fuse_conv_bn, load_backbone, pretrained_weights
from glimpse.features.extractor import frozen_extractor, to_onnx
from glimpse.features.onnx_session import open_session
from glimpse.features.views import ViewConfig, prepare_frames
from glimpse.frames.decoder import UnreadableClip, read_clip, store_clip

CORES = os.cpu_count() or 1
MAX_DIFFERENCE = 0.005  # of features from plain PyTorch's, relative; bfloat16 may differ more
Row = tuple[str, float, str, float, str]  # of a printed table: name, value, unit, ratio to the first row, note


@dataclass
class Workload:
    """What is measured: clips, settings, rounds, a temporary folder, and the results so far, {name of row: value}."""

    paths: list[str]
    settings: Settings
    rounds: int
    folder: Path
    results: dict[str, float] = field(default_factory=dict)


def decode_opencv(path: str, positions: list[int], convert: str = "wanted") -> list[np.ndarray]:
    """OpenCV: decode every frame and convert those `wanted` (as Glimpse does), `all` or `none`; or `seek` each one."""
    capture, frames, count = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]), {}, 0
    if convert == "seek":
        return [capture.read()[1] for position in positions if capture.set(cv2.CAP_PROP_POS_FRAMES, position)]
    while capture.grab():
        if convert == "all" or (convert == "wanted" and count in positions):
            frames[count] = capture.retrieve()[1]
        count += 1
    return [frames[position] for position in positions if position in frames]


def decode_pyav(path: str, positions: list[int]) -> list[np.ndarray]:
    """PyAV: decode every frame, convert those wanted."""
    with import_module("av").open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        decoded = enumerate(container.decode(video=0))
        frames = {count: frame.to_ndarray(format="bgr24", threads=1) for count, frame in decoded if count in positions}
    return [frames[position] for position in positions]


def decode_torchcodec(path: str, positions: list[int], mode: str = "exact") -> list[np.ndarray]:
    """torchcodec: `exact` scans the file for its frames first, `approximate` trusts its header."""
    open_clip = import_module("torchcodec.decoders").VideoDecoder
    decoder = open_clip(path, num_ffmpeg_threads=1, dimension_order="NHWC", seek_mode=mode)
    return list(decoder.get_frames_at(positions).data.numpy()[..., ::-1])


Decoder = Callable[[str, list[int]], list[np.ndarray]]  # BGR frames, decoded on one thread
DECODERS: dict[str, Decoder] = {
    "Glimpse: OpenCV, grab and retrieve": decode_opencv,
    "OpenCV, read all": partial(decode_opencv, convert="all"),
    "OpenCV, seek": partial(decode_opencv, convert="seek"),
    "PyAV": decode_pyav,
    "torchcodec": decode_torchcodec,
    "torchcodec, approximate": partial(decode_torchcodec, mode="approximate"),
}


def positions_to_decode(path: str, num: int) -> list[int] | None:
    """Evenly spaced positions among the frames that can be decoded; None if the clip is not usable."""
    with suppress(UnreadableClip):
        return evenly_spaced(read_clip(path, 2, 32).frames, num).tolist()
    return None


def stored_frames(path: str, positions: list[int] | None, settings: Settings) -> StoredClip:
    """What the stage `frames` makes of a clip; it finds the positions itself."""
    return store_clip(read_clip(path, settings.candidates, settings.frame_size))


def difference(decoder: Callable[..., list[np.ndarray]], path: str, positions: list[int]) -> float | str:
    """Mean difference from our frames in grey levels (of 255), or a message if the decoder fails."""
    try:
        pairs = zip(decoder(path, positions), decode_opencv(path, positions), strict=True)
        return float(np.mean([cv2.absdiff(np.ascontiguousarray(frame), ours).mean() for frame, ours in pairs]))
    except Exception as error:  # any kind: other people's code
        return (str(error).strip() or type(error).__name__).splitlines()[0]


def decode_only(decoder: Callable[..., object], path: str, positions: list[int]) -> None:
    """Decode and drop the frames in the worker, so that sending them back is not timed."""
    decoder(path, positions)


def time_in_turns(functions: Mapping[str, Callable[[], object]], rounds: int) -> Iterator[tuple[str, float, float]]:
    """Call functions in turns; yields the name, the median of its seconds, and the median ratio to the first one's."""
    seconds = np.zeros((rounds, len(functions)))
    for index in np.ndindex(seconds.shape):
        start = time.perf_counter()
        list(functions.values())[index[1]]()
        seconds[index] = time.perf_counter() - start
    return zip(functions, np.median(seconds, 0), np.median(seconds / seconds[:, :1], 0), strict=True)


def decode(workload: Workload) -> Iterator[Row]:
    """A clip's candidates, elapsed time, with a worker process per core."""
    paths, settings = workload.paths[:: 1 + len(workload.paths) // 61], workload.settings
    functions, notes = {}, {}
    others: dict[str, Callable] = {
        "floor: decode, convert no frame": partial(decode_opencv, convert="none"),
        "Glimpse, whole stage": partial(stored_frames, settings=settings),
    }
    with ProcessPoolExecutor(CORES, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        positions = list(pool.map(partial(positions_to_decode, num=settings.candidates), paths))
        for name, decoder in (DECODERS | others).items():
            notes[name] = f"n = {len(paths)}"
            if name in DECODERS:
                results = np.array([*pool.map(partial(difference, decoder), paths, positions)], object)
                if failures := [result for result in results if isinstance(result, str)]:
                    print(f"  {name} is skipped: fails on {len(failures)} of {len(paths)} clips: {failures[0]}")
                    continue
                notes[name] += f", {results.mean():.2f} grey levels from ours"
            functions[name] = partial(lambda job: list(pool.map(job, paths, positions)), partial(decode_only, decoder))
        for name, seconds, ratio in time_in_turns(functions, workload.rounds):
            yield name, seconds / len(paths) * 1000, "ms/clip", ratio, notes[name]


def features(workload: Workload) -> Iterator[Row]:
    """Frames through the frozen backbone, one clip's candidates at a time; all get the same uint8 frames."""
    settings, threads, cpu = workload.settings.features, torch.get_num_threads(), torch.device("cpu")
    config = ViewConfig(settings.input_size, settings.crop, settings.rgb_diff, flow=False)
    clips = [stored_frames(path, None, workload.settings) for path in workload.paths[: CORES * workload.rounds]]
    batches = np.concatenate([prepare_frames(stored, config).clean.swapaxes(0, 1) for stored in clips])
    network, fused = (load_backbone(pretrained_weights(settings.weights)) for _ in range(2))
    fused = fuse_conv_bn(fused).to(memory_format=torch.channels_last)
    session = open_session(to_onnx(fused))

    def onnx(batch: torch.Tensor) -> np.ndarray:
        return session.run(None, {"frames": batch.numpy()})[0]

    def plain(batch: torch.Tensor) -> torch.Tensor:
        return network.features((batch.permute(0, 3, 1, 2).contiguous() - network.mean) / network.std).mean((2, 3))

    def one_batch_per_core(extract: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(CORES) as pool:
            return np.concatenate(list(pool.map(extract, batches)))

    @torch.inference_mode()
    def one_batch_at_a_time(extract: Callable[[torch.Tensor], torch.Tensor | np.ndarray]) -> np.ndarray:
        torch.set_num_threads(threads)
        return np.concatenate([np.asarray(extract(batch)) for batch in torch.from_numpy(batches)])

    functions = {
        "Glimpse: float32": partial(one_batch_per_core, frozen_extractor(network, cpu, "float32")),
        "Glimpse: bfloat16": partial(one_batch_per_core, frozen_extractor(network, cpu, "bfloat16")),
        "PyTorch, plain batch": partial(one_batch_at_a_time, plain),
        "PyTorch, channels last, norms fused": partial(one_batch_at_a_time, fused),
        "ONNX Runtime, its own threads": partial(one_batch_at_a_time, onnx),
    }
    expected = one_batch_at_a_time(plain)
    differences = {name: np.abs(run() - expected).mean() / np.abs(expected).mean() for name, run in functions.items()}
    if wrong := [name for name, value in differences.items() if value > MAX_DIFFERENCE and "bfloat16" not in name]:
        raise SystemExit(f"bench: features differ from the plain batch's: {', '.join(wrong)}")
    for name, seconds, ratio in time_in_turns(functions, workload.rounds):
        note = f"n = {len(expected)}, {differences[name]:.2%} from plain"
        yield name, len(expected) / seconds, "frames/s", 1 / ratio, note
