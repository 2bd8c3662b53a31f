"""A model's file as what runs it: model.pt by PyTorch, an exported model.onnx by ONNX Runtime, without torch."""

from pathlib import Path

from glimpse.inference.recognizer import Recognizer


def load_recognizer(path: Path | str, threads: int = 0) -> Recognizer:
    """The trained approach in a file, by its ending; `threads`: of ONNX Runtime, 0 for as many as it takes by itself.

    A file that can't be used ends the program with one line.
    """
    if str(path).endswith(".onnx"):
        from glimpse.predict.onnx_recognizer import OnnxRecognizer

        return OnnxRecognizer(path, threads)
    from glimpse.inference.torch_recognizer import TorchRecognizer  # takes seconds to load

    return TorchRecognizer(path)
