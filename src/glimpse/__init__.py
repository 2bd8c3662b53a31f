"""Glimpse: which action a short clip shows, from a few of its frames, and how far to believe it."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when ONNX Runtime is imported
