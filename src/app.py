"""Tool: a web page on this machine alone, to try clips, read the report and mend labels. Run: python src/app.py

Reads models/, data/ and metrics/, and the clips of the data set; writes data/labels.csv where the page is asked to.
`make app` installs what it needs and starts it.
"""

from glimpse.core.settings import read  # isort: split

import argparse
import contextlib
import importlib.util
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

APPROACHES = ("first5", "all10")
NEEDED = ("data/clips.csv", "data/split.csv", "data/frames", *(f"models/{one}/model.pt" for one in APPROACHES))


def share(text: str) -> float:
    """A share between 0 and 1, from the command line."""
    if not 0 < float(text) < 1:
        raise ValueError
    return float(text)


def listening(port: int) -> socket.socket:
    """A socket on this machine's own address, at the port or, where that is taken, another free one."""
    for asked in (port, 0):
        ours = socket.socket()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError, OverflowError):
            ours.bind(("127.0.0.1", asked))
            ours.listen()
            return ours
        ours.close()
    raise SystemExit("app: no port of this machine is free")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7860, help="another free one if it is taken (7860)")
    parser.add_argument("--error", type=share, default=0.1, help="share of wrong answers to accept, else unknown (0.1)")
    asked = parser.parse_args()
    dataset = Path(read("dataset").dataset)
    missing = [path for path in (*NEEDED, str(dataset)) if not Path(path).exists()]
    if missing:
        raise SystemExit(f"app: {', '.join(missing)} not there: run `dvc repro` first")
    if importlib.util.find_spec("gradio") is None:
        raise SystemExit("app: gradio is not installed: `make app`, or `pip install -r requirements-app.txt`")
    with tempfile.TemporaryDirectory(prefix="glimpse-") as uploads:
        for name in {"SIGTERM", "SIGHUP"} & set(dir(signal)):  # or what was uploaded would stay on the disk
            signal.signal(getattr(signal, name), lambda number, _: sys.exit(128 + number))
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": uploads, "TMPDIR": uploads,
                       "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_SSR_MODE": "False"}  # fmt: skip
        serve(dataset, listening(asked.port), asked.port, asked.error)


def serve(dataset: Path, ours: socket.socket, wanted: int, error: float) -> None:
    """Serve the page on a socket, at the `wanted` port or another, until Ctrl-C."""
    import uvicorn  # these here, since they take seconds, and other processes start from this file

    from glimpse.app.page import build_app
    from glimpse.app.upload import DecodePool, PredictionService
    from glimpse.inference.torch_recognizer import TorchRecognizer

    port = ours.getsockname()[1]
    recognizers = {approach: TorchRecognizer(f"models/{approach}/model.pt") for approach in APPROACHES}
    with DecodePool.started(2) as readers:
        page = build_app(PredictionService(recognizers, readers, error), dataset, port)
        server = uvicorn.Server(uvicorn.Config(page, log_level="error", timeout_graceful_shutdown=1))
        if wanted not in (port, 0):
            print(f"app: port {wanted} is taken, so it is another one")
        print(f"app: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[ours])


if __name__ == "__main__":
    main()
