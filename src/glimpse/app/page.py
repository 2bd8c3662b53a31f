"""The web page: try a clip, read the report, mend labels. Gradio behind a `Gate`, and a few routes of its own."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
import numpy as np
import pandas as pd

from glimpse.app import label_tab as mending
from glimpse.app import upload as trying
from glimpse.app.result import page_of, sentence
from glimpse.app.security import LocalOnlyMiddleware
from glimpse.core.files import read_table
from glimpse.core.frame_store import FrameStore, from_jpeg
from glimpse.frames.decoder import UnreadableClip

REPORT = Path("metrics/report.html")
MOST_EXAMPLES = 10
LIMITS = (
    f"Up to {trying.MEGABYTES} MB, {trying.SECONDS} seconds and {trying.WIDEST} x {trying.HIGHEST} pixels. "
    "Nothing leaves this machine."
)
ALONE = {  # the report's own page: it loads nothing, and can't reach the page around it
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; sandbox allow-scripts"
}


def examples_of(table: pd.DataFrame) -> pd.DataFrame:
    """Test clips to click on, of each action two, or one where that would be too many; rows of `table`."""
    tested = table[table["part"] == "test"]
    held = list(tested.groupby("action").indices.values())[:MOST_EXAMPLES]
    each = 2 if 2 * len(held) <= MOST_EXAMPLES else 1
    chosen: list[int] = []
    for number, rows in enumerate(held):  # of each action others, so that not all show one person
        chosen += [rows[(3 * number + of * len(rows) // 2) % len(rows)] for of in range(each)]
    return tested.iloc[list(dict.fromkeys(chosen))]


def layout(asked: trying.PredictionService, dataset: Path, split: pd.DataFrame, folders: dict[str, str]) -> gr.Blocks:
    """The page's three tabs."""
    frames, number_of = FrameStore("data/frames"), {clip: number for number, clip in enumerate(folders)}
    examples = examples_of(split)

    def try_out(path: str | None, label: str = "") -> str:
        if not path:
            return ""
        name = Path(path).name
        try:
            return page_of(name, label, *asked.about(Path(path)), asked.error, asked.usual)
        except UnreadableClip as reason:
            return sentence(f"{name}: {reason}. Try another clip.")
        except SystemExit as ended:
            return sentence(str(ended))

    def try_upload(path: str | None) -> str:
        uploads = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
        if path and not Path(path).resolve().is_relative_to(uploads):
            return sentence("That file was not uploaded.")
        return try_out(path)

    def try_file(path: str) -> tuple[str, None]:
        return try_upload(path), None  # the field is ready for another

    def try_example(chosen: gr.SelectData) -> str:
        row = examples.iloc[int(chosen.index)]
        return try_out(str(dataset / row["clip"]), row["action"])

    with gr.Blocks(title="Glimpse", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown("# Glimpse\nWhich action a short clip shows, from a few of its frames, and how far to believe it.")
        with gr.Tab("Try"):
            with gr.Row():
                with gr.Column(scale=2, min_width=280):
                    with gr.Tab("A file"):
                        file = gr.File(label="Drop a clip", height=150, elem_id="file")
                    with gr.Tab("Webcam"):
                        camera = gr.Video(sources=["webcam"], label="Record", height=260, include_audio=True,
                                          webcam_options=gr.WebcamOptions(mirror=False), elem_id="camera")  # fmt: skip
                    gr.Markdown(LIMITS)
                with gr.Column(scale=3, min_width=280):
                    thumbs = [(_thumb(frames, row.clip), row.action) for row in examples.itertuples()]
                    gr.Markdown("Or one of the test clips, which no training saw:")
                    gallery = gr.Gallery(thumbs, show_label=False, columns=5, allow_preview=False, height="auto",
                                         buttons=[], object_fit="cover",
                                         interactive=False, elem_id="examples")  # fmt: skip
            said = gr.HTML(min_height=80, elem_id="answer")
            told: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": 2, "concurrency_id": "try",
                    "show_progress_on": said}  # fmt: skip
            file.upload(try_file, file, [said, file], **told)
            camera.change(try_upload, camera, said, **told)
            gallery.select(try_example, None, said, **told)
        with gr.Tab("Report"):
            gr.HTML(_report)  # made anew whenever the page is loaded
        with gr.Tab("Labels"):
            mending.tab(folders, number_of)
    return page


def _thumb(frames: FrameStore, clip: str) -> np.ndarray:
    """A clip's middle frame: uint8 RGB."""
    jpegs = frames.load(clip).frames
    return from_jpeg(jpegs[len(jpegs) // 2])[..., ::-1]


def _report() -> str:
    """The report in a frame of its own, or what makes it."""
    if REPORT.exists():
        return '<iframe class="report" src="/report" sandbox="allow-scripts" title="report"></iframe>'
    return sentence("There is no metrics/report.html: run `dvc repro`, then load this page again.")


def build_app(asked: trying.PredictionService, dataset: Path, port: int) -> LocalOnlyMiddleware:
    """The page as an ASGI application, for this port."""
    table = read_table("data/clips.csv", ["clip", "action"])
    folders = dict(zip(table["clip"], table["action"], strict=True))
    split = read_table("data/split.csv", ["clip", "action", "part"])
    frames, names = FrameStore("data/frames"), list(folders)
    page = layout(asked, dataset, split, folders)
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @lru_cache(maxsize=64)
    def played(number: int) -> bytes:
        tried = asked.readers.run(asked.read, dataset / names[number])
        return tried.played if isinstance(tried, trying.UploadedClip) else b""

    @app.get("/report")
    def report() -> fastapi.Response:
        content = REPORT.read_bytes() if REPORT.exists() else b"run `dvc repro`"
        return fastapi.Response(content, media_type="text/html; charset=utf-8", headers=ALONE)

    @app.get("/clip/{number}.webm")
    def webm(number: int) -> fastapi.Response:
        content = played(number) if 0 <= number < len(names) else b""
        return fastapi.Response(content, status_code=200 if content else 404, media_type="video/webm")

    @app.get("/clip/{number}.jpg")
    def poster(number: int) -> fastapi.Response:
        if not 0 <= number < len(names):
            return fastapi.Response(status_code=404)
        try:
            jpegs = frames.load(names[number]).frames
        except SystemExit:
            return fastapi.Response(status_code=404)
        return fastapi.Response(jpegs[len(jpegs) // 2], media_type="image/jpeg")

    page.has_launched = True  # or Gradio would open any path that a request names as its upload
    system = ["system-ui", "sans-serif"]
    theme = gr.themes.Default(font=system, font_mono=["ui-monospace", "monospace"])
    mounted = gr.mount_gradio_app(
        app, page, path="/", server_name="127.0.0.1", server_port=port, footer_links=[], run_history=False,
        max_file_size=f"{trying.MEGABYTES}mb", show_error=True, ssr_mode=False, enable_monitoring=False, pwa=False,
        mcp_server=False, theme=theme, css_paths=Path(__file__).with_name("app.css"),
        blocked_paths=[os.getcwd()],
    )  # fmt: skip
    return LocalOnlyMiddleware(mounted, (trying.MEGABYTES + 1) * 2**20)
