"""Web page on this machine: try clips, read the report, review labels. Ctrl-C stops it.

Needs gradio: `make app` installs it and starts the page, or pip install -r requirements-app.txt. Nothing is sent to
another machine. Uploaded clips are kept in a temporary folder, for an hour at most or until the page is stopped.

Reads params.yaml, the clips of the data set, data/clips.csv, data/split.csv, data/frames/, models/ and metrics/.
Writes data/labels.csv when a label is corrected in the page.
"""

import argparse
import contextlib
import importlib.util
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from glimpse.core.stage import allow_ctrl_c
from glimpse.predict.options import add_max_error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `glimpse app`."""
    parser.add_argument("--port", type=int, default=7860, help="port; another free one if it is taken (%(default)s)")
    add_max_error(parser)


def run(args: argparse.Namespace) -> None:
    """Check that everything the page needs exists, and serve it; uploads are deleted at the end."""
    from glimpse.core.settings import APPROACHES, read_settings

    dataset = Path(read_settings().dataset)
    models = {approach: f"models/{approach}/model.pt" for approach in APPROACHES}
    needed = ["data/clips.csv", "data/split.csv", "data/frames", *models.values(), str(dataset)]
    missing = [path for path in needed if not Path(path).exists()]
    if missing:
        raise SystemExit(f"app: {', '.join(missing)}: missing: run `dvc repro` first")
    if importlib.util.find_spec("gradio") is None:
        raise SystemExit("app: gradio is not installed: `make app`, or pip install -r requirements-app.txt")
    with tempfile.TemporaryDirectory(prefix="glimpse-") as uploads:
        for name in {"SIGTERM", "SIGHUP"} & set(dir(signal)):  # exit, so that the uploads are deleted
            signal.signal(getattr(signal, name), lambda number, _: sys.exit(128 + number))
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": uploads, "TMPDIR": uploads,
                       "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_SSR_MODE": "False"}  # fmt: skip
        serve(models, dataset, args.port, args.max_error)


def serve(models: dict[str, str], dataset: Path, port: int, max_error: float) -> None:
    """Serve the page until Ctrl-C. models: {approach: its model.pt}; port: the preferred one."""
    import uvicorn  # here, since these take seconds to import

    from glimpse.app.page import build_app
    from glimpse.app.upload import TIME_LIMIT, PredictionService
    from glimpse.core.parallel import ProcessPool
    from glimpse.inference.torch_recognizer import TorchRecognizer

    with bind(port) as listener, ProcessPool(1, TIME_LIMIT) as decoder, ProcessPool(1, TIME_LIMIT) as other_decoder:
        bound_port = listener.getsockname()[1]
        recognizers = {approach: TorchRecognizer(path) for approach, path in models.items()}
        page = build_app(PredictionService(recognizers, [decoder, other_decoder], max_error), dataset, bound_port)
        server = uvicorn.Server(uvicorn.Config(page, log_level="error", timeout_graceful_shutdown=1))
        if port not in (bound_port, 0):
            print(f"app: port {port} is taken, using another one")
        print(f"app: http://127.0.0.1:{bound_port} (Ctrl-C stops it)", flush=True)
        allow_ctrl_c()
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def bind(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1, at `port` or, if that is taken, at any free one."""
    for candidate in (port, 0):
        with contextlib.suppress(OSError, OverflowError):
            return socket.create_server(("127.0.0.1", candidate))
    raise SystemExit("app: no port of this machine is free")
