"""A trained approach as `export` writes it, run by ONNX Runtime: it needs NumPy and OpenCV beside it, and no torch."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime

from glimpse.inference.recognizer import Recognizer

FORMAT = 2  # of what stands in an exported model's metadata; another one is refused


class OnnxRecognizer(Recognizer):
    """A model.onnx and, once a stream is read, the stream.onnx beside it. `threads`: of ONNX Runtime; 0 for its own."""

    def __init__(self, path: Path | str, threads: int = 0) -> None:
        self.path, self.threads = Path(path), threads
        self.session = self._open(self.path)
        super().__init__(self._kept(self.path, self.session))

    def predict_views(self, looks: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"looks": looks[None]})[0][0]

    @property
    def state_size(self) -> int:
        return self._stream.get_inputs()[1].shape[1]

    def step(self, look: np.ndarray, carried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, after = self._stream.run(None, {"look": look, "carried": carried})
        return probabilities, after

    @cached_property
    def _stream(self) -> onnxruntime.InferenceSession:
        path = self.path.with_name("stream.onnx")
        session = self._open(path)
        if self._kept(path, session) != self.config:
            raise SystemExit(f"{path}: not of the same training as {self.path}: run `make export`")
        return session

    def _open(self, path: Path) -> onnxruntime.InferenceSession:
        """A session for an exported model; a file that is missing or damaged ends the program with one line."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = self.threads, 4
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SystemExit(f"{path}: {error.strerror or error}: run `make export` to write it") from None
        try:
            return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # many kinds, for bytes that are no model
            raise SystemExit(f"{path}: not a model, or damaged ({type(error).__name__})") from None

    def _kept(self, path: Path, session: onnxruntime.InferenceSession) -> dict:
        """The plain values of model.pt, from the metadata."""
        held = session.get_modelmeta().custom_metadata_map
        if held.get("format") != str(FORMAT):
            raise SystemExit(f"{path}: not a model that this version of Glimpse exported: run `make export`")
        return json.loads(held["kept"])
