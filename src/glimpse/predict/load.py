"""Python API: load a trained model and predict the action in a video file.

    from glimpse.predict.load import load_recognizer, predict_file

    model = load_recognizer("models/all10/model.pt")  # or an exported model.onnx, which needs no torch
    result = predict_file(model, "clip.mp4")
    print(result.action, result.confidence, result.probabilities)

`glimpse predict clips` uses the same functions.
"""

from dataclasses import dataclass
from pathlib import Path

from glimpse.core.frame_store import StoredClip
from glimpse.frames.decoder import read_clip, store_clip
from glimpse.inference.confidence import frames_to_stable
from glimpse.inference.recognizer import Recognizer

LONG = 3  # times the length of the training clips: one prediction for all of it says little


@dataclass(frozen=True)
class Prediction:
    """The predicted action of one clip."""

    action: str  # the most likely one
    confidence: float  # its probability
    known: bool  # whether the confidence reaches the threshold; otherwise treat the action as unknown
    frames_to_stable: int  # number of frames after which the predicted action no longer changed
    frames: int  # number of frames the model reads
    probabilities: dict[str, float]  # of every action, the most likely first


def load_recognizer(path: Path | str, threads: int = 0) -> Recognizer:
    """Load model.pt (needs torch) or an exported model.onnx (needs only numpy, opencv-python and onnxruntime).

    threads: CPU threads of ONNX Runtime, 0 for its default. A file that cannot be used raises SystemExit with one line.
    """
    if str(path).endswith(".onnx"):
        from glimpse.predict.onnx_recognizer import OnnxRecognizer

        return OnnxRecognizer(path, threads)
    from glimpse.inference.torch_recognizer import TorchRecognizer  # importing torch takes seconds

    return TorchRecognizer(path)


def predict_file(model: Recognizer, path: Path | str, max_error: float = 0.1) -> Prediction:
    """Predict the action in a video file.

    `known` is False below the confidence threshold at which at most a share `max_error` of the answers is wrong.
    Raises UnreadableClip with the reason if the file cannot be used.
    """
    stored = store_clip(read_clip(path, model.config.candidates, model.config.frame_size))
    return predict_stored(model, path, stored, model.threshold(max_error))


def predict_stored(model: Recognizer, path: Path | str, stored: StoredClip, threshold: float) -> Prediction:
    """Predict from a clip's stored frames; `threshold`: the lowest confidence of a known action."""
    probabilities = model.predict(model.prepare(Path(path).name, stored))
    ranked = dict(sorted(zip(model.class_names, probabilities[-1].tolist()), key=lambda item: -item[1]))
    action, confidence = next(iter(ranked.items()))
    stable = frames_to_stable(probabilities)
    return Prediction(action, confidence, confidence >= threshold, stable, len(probabilities), ranked)
