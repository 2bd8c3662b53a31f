"""Runs an exported model with ONNX Runtime; needs only numpy, opencv-python and onnxruntime.

`glimpse export` writes model.onnx (whole clips) and stream.onnx (frame by frame). Their metadata have "format", the
number FORMAT, and "config", the JSON of `ModelConfig.to_dict()`.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glimpse.features.onnx_session import open_session
from glimpse.inference.recognizer import Recognizer
from glimpse.model.config import ModelConfig

if TYPE_CHECKING:
    import onnxruntime

FORMAT = 3  # version of the metadata; other versions are refused


class OnnxRecognizer(Recognizer):
    """An exported model: model.onnx and, loaded when `step` is first used, the stream.onnx beside it.

    threads: CPU threads of ONNX Runtime, 0 for its default.
    """

    def __init__(self, path: Path | str, threads: int = 0) -> None:
        self.path, self.threads = Path(path), threads
        self.session, config = self._open(self.path)
        super().__init__(config)

    def predict_views(self, views: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.session.get_inputs()[0].name: views[None]})[0][0]

    @property
    def state_size(self) -> int:
        return self._stream.get_inputs()[1].shape[1]

    def step(self, view: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        view_input, state_input = self._stream.get_inputs()
        probabilities, updated = self._stream.run(None, {view_input.name: view, state_input.name: state})
        return probabilities, updated

    @cached_property
    def _stream(self) -> "onnxruntime.InferenceSession":
        path = self.path.with_name("stream.onnx")
        session, config = self._open(path)
        if config != self.config:
            raise SystemExit(f"{path}: exported from another training than {self.path}: run `make export`")
        return session

    def _open(self, path: Path) -> tuple["onnxruntime.InferenceSession", ModelConfig]:
        """An exported model and its configuration; exits with one line if the file is missing, damaged or old."""
        try:
            session = open_session(path.read_bytes(), self.threads)
        except OSError as error:
            raise SystemExit(f"{path}: {error.strerror or error}: run `make export` to write it") from None
        except Exception as error:  # of many types if the bytes are no model
            raise SystemExit(f"{path}: not a model, or damaged ({type(error).__name__})") from None
        metadata = session.get_modelmeta().custom_metadata_map
        if metadata.get("format") != str(FORMAT):
            raise SystemExit(f"{path}: not a model exported by this version of Glimpse: run `make export`")
        try:
            return session, ModelConfig.from_dict(json.loads(metadata["config"]))
        except (KeyError, TypeError, ValueError):
            raise SystemExit(f"{path}: its metadata are damaged: run `make export`") from None
