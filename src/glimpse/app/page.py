"""The web page: try clips, read the report, review labels. Gradio and own routes behind `LocalOnlyMiddleware`."""

import contextlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
import pandas as pd

from glimpse.app import label_tab
from glimpse.app.result import ModelCard, description, message, most_likely
from glimpse.app.security import REPORT_HEADERS, LocalOnlyMiddleware
from glimpse.app.upload import MAX_HEIGHT, MAX_MB, MAX_SECONDS, MAX_WIDTH, PredictionService
from glimpse.core.files import read_table
from glimpse.core.frame_store import FrameStore
from glimpse.core.image import from_jpeg
from glimpse.frames.decoder import UnreadableClip

REPORT = Path("metrics/report.html")
MAX_EXAMPLES = 10
LIMITS = f"Up to {MAX_MB} MB, {MAX_SECONDS} seconds and {MAX_WIDTH} x {MAX_HEIGHT} pixels. Nothing leaves this machine."


def pick_examples(split: pd.DataFrame) -> pd.DataFrame:
    """Test clips to click on: two of each action, or one if that would be too many; rows of data/split.csv."""
    test = split[split["split"] == "test"]
    by_action = list(test.groupby("action").indices.values())[:MAX_EXAMPLES]
    per_action = 2 if 2 * len(by_action) <= MAX_EXAMPLES else 1
    chosen: list[int] = []
    for number, rows in enumerate(by_action):  # different offsets, so that they show different groups
        chosen += [rows[(3 * number + index * len(rows) // 2) % len(rows)] for index in range(per_action)]
    return test.iloc[list(dict.fromkeys(chosen))]


def middle_frame(store: FrameStore, clip: str) -> bytes:
    """A clip's middle stored frame, as JPEG."""
    jpegs = store.load(clip).frames
    return jpegs[len(jpegs) // 2]


def build_try_tab(service: PredictionService, dataset: Path, examples: pd.DataFrame, store: FrameStore) -> None:
    """Lay out the tab in which a file, a recording or an example is predicted."""

    def predict(path: Path, label: str = "") -> dict[Any, Any]:
        try:
            clip, predictions = service.predict(path)
        except UnreadableClip as reason:
            return failed(f"{path.name}: {reason}. Try another clip.")
        except SystemExit as error:
            return failed(str(error))
        actions, video = most_likely(predictions), save_preview(clip.preview) if clip.preview else None
        updates = {
            status: description(path.name, label, clip, service.clip_seconds),
            preview: gr.Video(video, visible=video is not None),
            cards: gr.Row(visible=True),
        }
        for prediction in predictions:
            updates |= models[prediction.approach].update(prediction, actions, service.max_error)
        return updates

    def failed(text: str) -> dict[Any, Any]:
        hidden = {preview: gr.Video(None, visible=False), cards: gr.Row(visible=False)}
        return hidden | {status: message(text) if text else ""}

    def predict_upload(path: str | None) -> dict[Any, Any]:
        if path and not Path(path).resolve().is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]).resolve()):
            return failed("That file was not uploaded.")
        return predict(Path(path)) if path else failed("")

    def predict_example(event: gr.SelectData) -> dict[Any, Any]:
        row = examples.iloc[int(event.index)]
        return predict(dataset / row["clip"], row["action"])

    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            with gr.Tab("File"):
                file = gr.File(label="Drop a clip", height=150, elem_id="file")
            with gr.Tab("Webcam"):
                camera = gr.Video(sources=["webcam"], label="Record", height=260, include_audio=True,
                                  webcam_options=gr.WebcamOptions(mirror=False))  # fmt: skip
            gr.Markdown(LIMITS)
        with gr.Column(scale=3, min_width=280):
            gr.Markdown("Or one of the test clips, which no training used:")
            frames = [from_jpeg(middle_frame(store, clip))[..., ::-1] for clip in examples["clip"]]
            thumbnails = list(zip(frames, examples["action"], strict=True))
            gallery = gr.Gallery(thumbnails, show_label=False, columns=5, allow_preview=False, height="auto",
                                 buttons=[], object_fit="cover", interactive=False, elem_id="examples")  # fmt: skip
    with gr.Row(equal_height=False):
        preview = gr.Video(visible=False, interactive=False, show_label=False, height=180, loop=True, buttons=[],
                           min_width=240, scale=0, elem_id="preview")  # fmt: skip
        status = gr.HTML(min_height=80, elem_id="status")
    with gr.Row(visible=False, equal_height=False) as cards:
        models = {approach: ModelCard(approach) for approach in service.recognizers}
    outputs = [file, preview, status, cards, *(part for card in models.values() for part in vars(card).values())]
    options: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": 2, "concurrency_id": "predict",
                               "show_progress_on": status}  # fmt: skip
    file.upload(lambda path: predict_upload(path) | {file: None}, file, outputs, **options)
    camera.change(predict_upload, camera, outputs, **options)
    gallery.select(predict_example, None, outputs, **options)


def save_preview(preview: bytes) -> str | None:
    """Write a preview where Gradio serves it, and deletes it, as it does uploads; its path, or None if that fails."""
    with contextlib.suppress(OSError):  # a full disk costs the preview, not the prediction
        with tempfile.NamedTemporaryFile(suffix=".webm", dir=os.environ["GRADIO_TEMP_DIR"], delete=False) as file:
            file.write(preview)
        return file.name
    return None


def report_frame() -> str:
    """The report in a frame of its own, or what to run to get it."""
    if REPORT.exists():
        return '<iframe class="report" src="/report" sandbox="allow-scripts" title="report"></iframe>'
    return message(f"{REPORT}: missing: run `dvc repro`, then load this page again.")


def build_app(service: PredictionService, dataset: Path, port: int) -> LocalOnlyMiddleware:
    """The page as an ASGI application for this port of 127.0.0.1."""
    table = read_table("data/clips.csv", ["clip", "action"])
    split = read_table("data/split.csv", ["clip", "action", "split"])
    store, clips = FrameStore("data/frames"), dict(enumerate(table["clip"]))
    with gr.Blocks(title="Glimpse", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        gr.Markdown("# Glimpse\nWhich action a short clip shows, from a few of its frames, and how reliable that is.")
        with gr.Tab("Try"):
            build_try_tab(service, dataset, pick_examples(split), store)
        with gr.Tab("Report"):
            gr.HTML(report_frame)  # called whenever the page is loaded
        with gr.Tab("Labels"):
            label_tab.build(dict(zip(table["clip"], table["action"], strict=True)))
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @lru_cache(maxsize=64)
    def clip_preview(number: int) -> bytes:
        with contextlib.suppress(UnreadableClip, KeyError):
            return service.decode(dataset / clips[number]).preview
        return b""

    @app.get("/report")
    def report() -> fastapi.Response:
        content = REPORT.read_bytes() if REPORT.exists() else b"run `dvc repro`"
        return fastapi.Response(content, media_type="text/html; charset=utf-8", headers=REPORT_HEADERS)

    @app.get("/clip/{number}.webm")
    def webm(number: int) -> fastapi.Response:
        content = clip_preview(number)
        return fastapi.Response(content, 200 if content else 404, media_type="video/webm")

    @app.get("/clip/{number}.jpg")
    def poster(number: int) -> fastapi.Response:
        with contextlib.suppress(SystemExit, KeyError):
            return fastapi.Response(middle_frame(store, clips[number]), media_type="image/jpeg")
        return fastapi.Response(status_code=404)

    blocks.has_launched = True  # or Gradio would open any path that a request names as its upload
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    mounted = gr.mount_gradio_app(
        app, blocks, path="/", server_name="127.0.0.1", server_port=port, footer_links=[], run_history=False,
        max_file_size=f"{MAX_MB}mb", show_error=True, ssr_mode=False, enable_monitoring=False, pwa=False,
        mcp_server=False, theme=theme, css_paths=Path(__file__).with_name("app.css"), blocked_paths=[os.getcwd()],
    )  # fmt: skip
    return LocalOnlyMiddleware(mounted, (MAX_MB + 1) * 2**20)
