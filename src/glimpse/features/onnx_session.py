"""Sessions of ONNX Runtime on the CPU, which is imported when the first one is opened. No torch in here."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


def open_session(model: bytes | Path | str, threads: int = 0) -> "onnxruntime.InferenceSession":
    """Open an ONNX model, its bytes or its file, on `threads` cores (0: as many as there are)."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when ONNX Runtime is imported
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors are raised; ONNX Runtime need not print them as well
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
