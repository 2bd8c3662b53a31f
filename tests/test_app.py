"""The web page: in a browser, with two users, with broken files, and under attack."""

import asyncio
import importlib.util
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, write_clip

from glimpse.app import upload
from glimpse.app.security import LocalOnlyMiddleware, refusal
from glimpse.core.frame_store import StoredClip
from glimpse.frames.decoder import UnreadableClip
from glimpse.split.labels import read_corrections, write_correction

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
MISSING += [] if CHROMIUM else ["chromium"]
in_a_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (requirements-app.txt)"),
    # Playwright closes its pipes late, and its event loop is not ours
    pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning"),
]
ARGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
FOLDERS = {"a/1.avi": "a", "a/2.avi": "a", "b/1.avi": "b"}


def test_a_correction_adds_one_row_and_undoing_it_removes_it(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("clip,action\ngone/9.avi,c\n")
    write_correction(path, {"a/1.avi": "b"}, FOLDERS)
    assert write_correction(path, {"a/2.avi": "b", "a/1.avi": "c"}, FOLDERS)["a/1.avi"] == "c"
    assert path.read_text() == "clip,action\ngone/9.avi,c\na/1.avi,c\na/2.avi,b\n"
    write_correction(path, {"a/1.avi": "a"}, FOLDERS)
    assert read_corrections(path) == {"gone/9.avi": "c", "a/2.avi": "b"}


def test_the_users_own_columns_stay(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("clip,action,why\na/1.avi,b,seen twice\n")
    write_correction(path, {"a/2.avi": "b"}, FOLDERS)
    assert path.read_text() == "clip,action,why\na/1.avi,b,seen twice\na/2.avi,b,\n"


@pytest.mark.parametrize("changes", [{"a/9.avi": "b"}, {"a/1.avi": "=cmd"}, {"../../x": "a"}])
def test_only_clips_and_actions_of_the_data_set_are_written(tmp_path, changes):
    with pytest.raises(ValueError, match="of the data set"):
        write_correction(tmp_path / "labels.csv", changes, FOLDERS)
    assert not (tmp_path / "labels.csv").exists()


def test_a_clip_beyond_a_limit_is_refused_with_the_limit(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.avi", range(20, 220, 2))  # 100 frames, 4 s
    assert isinstance(upload.decode_upload(clip, 20, 176), upload.UploadedClip)
    for name, limit, text in (
        ("MAX_SECONDS", 3, "too long: 4 s, at most 3 s"),
        ("MAX_WIDTH", 60, "too large: 64x48 pixels"),
        ("MAX_MB", 0.001, "too large: at most 0.001 MB"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(upload, name, limit)
            reason = upload.decode_upload(clip, 20, 176)
            assert isinstance(reason, UnreadableClip) and text in str(reason)


def test_a_preview_is_a_webm_of_the_whole_clip(tmp_path):
    clip = upload.decode_upload(write_clip(tmp_path / "clip.avi", range(20, 220, 2)), 20, 176)
    (tmp_path / "preview.webm").write_bytes(clip.preview)
    preview = upload.decode_upload(tmp_path / "preview.webm", 20, 176)
    assert clip.preview.startswith(b"\x1aE\xdf\xa3")
    assert abs(preview.frames - 100) <= 1 and isinstance(preview.stored, StoredClip)


def test_a_clip_without_preview_is_still_decoded(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(upload, "_write_preview", fail)
    clip = upload.decode_upload(write_clip(tmp_path / "clip.avi", range(20, 220, 2)), 20, 176)
    assert isinstance(clip, upload.UploadedClip) and clip.preview == b""

    page = pytest.importorskip("glimpse.app.page")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "missing"))
    assert page.save_preview(b"webm") is None


def refusal_of(path, method="GET", **headers):
    """Why a request is refused; "" if it is not."""
    headers = {"host": "127.0.0.1:7860"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {"type": "http", "method": method, "path": path}
    return refusal(scope | {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]})


def test_only_requests_of_the_page_itself_are_let_through():
    assert refusal_of("/") == refusal_of("/clip/0.jpg") == refusal_of("/gradio_api/queue/join", "POST") == ""
    assert refusal_of("/", sec_fetch_site="cross-site") == ""  # a link was followed
    for path, method in (("/clip/0.jpg", "GET"), ("/gradio_api/queue/join", "POST"), ("/", "POST")):
        assert refusal_of(path, method, sec_fetch_site="cross-site") == "not for other pages"
    assert refusal_of("/gradio_api/file=https://example.com/x") == "no such page"
    assert refusal_of("/", host="evil.example") == "not for this host"
    for path in ("/gradio_api/", "/gradio_api/uploads", "/gradio_api/queue/", "/gradio_api/queue/status", "/report/x"):
        assert refusal_of(path) == "no such page"  # allowed paths are no prefixes


def test_of_gradios_paths_only_those_the_page_needs_are_let_through():
    pytest.importorskip("gradio")
    code = """if True:
        import gradio, gradio.routes
        with gradio.Blocks(analytics_enabled=False) as blocks:
            gradio.HTML()
        folders = [gradio.routes.App.create_app(blocks)]
        for folder in folders:
            for route in folder.routes:
                if hasattr(route, "original_router"):
                    folders.append(route.original_router)
                elif hasattr(route, "path"):
                    print(route.path)"""  # in a process of its own, since Gradio leaves an event loop open
    printed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout
    paths = {re.sub(r"{.*?}", "x", path) for path in printed.split()}
    assert {"/gradio_api/info", "/gradio_api/proxy=x"} <= paths
    assert {path for path in paths if not refusal_of(path)} == {
        "/", "/assets/x", "/config", "/favicon.ico", "/manifest.json", "/static/x", "/svelte/x", "/theme.css",
        "/gradio_api/cancel", "/gradio_api/file=x", "/gradio_api/heartbeat/x", "/gradio_api/queue/data",
        "/gradio_api/queue/join", "/gradio_api/reset", "/gradio_api/startup-events", "/gradio_api/upload",
        "/gradio_api/upload_progress",
    }  # fmt: skip


def test_a_request_that_is_too_large_or_has_no_valid_host_is_cut_off():
    received, sent = [], []

    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            received.append(len(message["body"]))

    async def receive():
        return {"type": "http.request", "body": bytes(100)}

    async def send(message):
        sent.append(message)

    for host in (b"localhost", b"["):
        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": [(b"host", host)]}
        asyncio.run(LocalOnlyMiddleware(app, 1000)(scope, receive, send))
    assert sum(received) == 1000 and [message.get("status") for message in sent] == [403, None]


def prediction_of(*names, frames=3, threshold=0.5):
    """A prediction whose last action is the most likely, with made-up images."""
    probs = np.tile(np.arange(1, len(names) + 1) / sum(range(len(names) + 1)), (frames, 1))
    return upload.ModelPrediction("all10", list(names), probs, [(b"frame", b"heatmap")] * frames, threshold)


def test_names_are_escaped():
    result, label_tab = map(pytest.importorskip, ("glimpse.app.result", "glimpse.app.label_tab"))
    name = "<img src=x onerror=alert(1)>"
    clip = upload.UploadedClip(None, 10, 99.0, 64, 48, b"")
    prediction = prediction_of("a", name)
    row = pd.Series({"clip": name, "given_label": name, "predicted_label": name + "2", "p_given": "0.1",
                     "p_predicted": "0.9", "is_label_issue": "yes"})  # fmt: skip
    htmls = [
        result.message(name), result.description(name, name, clip, 1.0), result.answer(prediction, 0.1),
        result.answer(prediction_of("a", name, threshold=0.9), 0.1), result.legend({name: "#000"}),
        label_tab.clip_html(row, 0), label_tab.pending_html({name: name}),
    ]  # fmt: skip
    assert all("&lt;img" in html and "<img" not in html for html in htmls)


def test_the_curve_has_a_line_per_likely_action_and_a_constant_threshold():
    result = pytest.importorskip("glimpse.app.result")
    names = [f"action {number}" for number in range(9)]
    for frames, threshold, lines in ((3, 0.15, 7), (3, math.inf, 6), (20, 0.15, 7)):
        prediction = prediction_of(*names, frames=frames, threshold=threshold)
        rows, colours = result.curve(prediction, result.most_likely([prediction]))
        probability = rows.groupby("action")["probability"]
        assert set(colours) == set(probability.groups) and len(set(colours.values())) == lines
        assert set(colours) - {"threshold 15.0%"} == set(names[3:]) and (probability.size() == frames).all()
        numbers = list(range(1, frames + 1)) if frames > 12 else ["1", "2", "3"]
        assert list(rows["frames"].unique()) == numbers
        assert threshold == math.inf or set(probability.get_group("threshold 15.0%")) == {0.15}


def test_unknown_below_the_threshold():
    result = pytest.importorskip("glimpse.app.result")
    assert 'class="unknown">unknown</b> most likely: b 66.7%' in result.answer(
        prediction_of("a", "b", threshold=0.7), 0.1
    )
    assert "too few val clips" in result.answer(prediction_of("a", "b", threshold=math.inf), 0.1)
    assert "unknown" not in result.answer(prediction_of("a", "b", threshold=0.6), 0.1)


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    """The page of a copy of the small project, with two label issues: its folder and address."""
    folder = tmp_path_factory.mktemp("app") / "project"
    shutil.copytree(trained, folder)
    split = pd.read_csv(folder / "data/split.csv")
    rows = split.groupby("action").head(1).head(2)
    issues = pd.DataFrame({"clip": rows["clip"], "group": rows["group"], "given_label": rows["action"]})
    issues["predicted_label"], issues["p_given"], issues["p_predicted"] = "wave", 0.1, 0.8
    issues["agreement"], issues["label_quality"], issues["is_label_issue"] = 1.0, 0.15, "yes"
    issues.to_csv(folder / "metrics/label_issues.csv", index=False)
    (folder / "metrics/report.html").write_text("<!doctype html><p>the report itself</p>")
    (folder / "secret.txt").write_text("a secret")
    os.symlink(folder / "secret.txt", folder / "metrics/link.txt")
    command = [sys.executable, "-m", "glimpse.cli", "app", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    server = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline()).group()
        yield folder, address
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, served):
    """Open the page as another user; every request goes to the page's own server, which refuses none of them."""
    contexts, requests, refused = [], [], []

    def open_page(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(120_000)  # milliseconds, for a busy machine
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("response", lambda response: refused.append(response.url) if response.status >= 400 else None)
        page.goto(served[1])
        page.wait_for_selector("#file input", state="attached")
        page.wait_for_timeout(500)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert requests and not [url for url in requests if not url.startswith((served[1], "data:", "blob:"))]
    assert not refused


def correct_clips(folder):
    """A test clip of each action that all10 predicts correctly and most confidently: {action: path}."""
    table = pd.read_csv(folder / "metrics/tables/predictions-all10.csv")
    table["p"] = [row[f"p({row['action']})"] for _, row in table.iterrows()]
    best = table[table["action"] == table["predicted"]].sort_values("p").groupby("action").tail(1)
    return {row.action: folder / "data/demo" / row.clip for row in best.itertuples()}


def answer_for(page, name):
    """The answer of all10, once the page shows the result for a file."""
    page.wait_for_function("name => document.querySelector('#status h3')?.textContent === name", arg=name)
    return page.inner_text("#all10 .answer")


class TestPage:
    pytestmark = in_a_browser

    def test_a_clip_of_each_action_is_predicted(self, visit, served):
        page = visit()
        clips = correct_clips(served[0])
        assert len(clips) >= 4, "the small model predicts too few actions correctly to test with"
        for action, path in clips.items():
            page.set_input_files("#file input", path)
            assert action in answer_for(page, path.name)
            assert page.locator("#all10 figure").count() == 10
            assert page.locator("#first5 figure").count() == 5
            for approach in ("first5", "all10"):  # a line and a bar for each of five actions, a line for the threshold
                lines = page.locator(f"#{approach} .mark-line path")
                lines.nth(5).wait_for(state="attached")
                assert lines.count() == 6 and "threshold" in lines.nth(5).get_attribute("aria-label")
                for other in clips:
                    assert page.locator(f"#{approach}").get_by_text(other, exact=True).count()
        assert page.evaluate("document.querySelector('#preview video').play().then(() => true)")

    def test_the_heatmap_is_hidden_while_a_frame_is_pointed_at_or_touched(self, visit, served):
        path = next(iter(correct_clips(served[0]).values()))
        opacity = "image => new Promise(done => setTimeout(() => done(getComputedStyle(image).opacity), 400))"
        for touch in (False, True):
            page = visit(has_touch=touch, viewport={"width": 390, "height": 844})
            page.set_input_files("#file input", path)
            answer_for(page, path.name)
            figure = page.locator("#all10 figure").first
            assert figure.locator(".heatmap").evaluate(opacity) == "1"
            figure.tap() if touch else figure.hover()
            assert figure.locator(".heatmap").evaluate(opacity) == "0"
            assert page.evaluate("document.documentElement.scrollWidth") <= 390

    def test_an_example_is_a_click_away(self, visit):
        page = visit()
        page.locator("#examples .thumbnail-item").first.click()
        assert page.wait_for_selector("#status .label").inner_text()

    def test_a_broken_file_gets_a_sentence_and_the_page_lives_on(self, visit, served):
        page = visit()
        path = next(iter(correct_clips(served[0]).values()))
        half = path.read_bytes()[: path.stat().st_size // 50]
        page.set_input_files("#file input", {"name": "<b>half.avi", "mimeType": "video/avi", "buffer": half})
        assert "Try another clip." in page.wait_for_selector("#status .message").inner_text()
        page.set_input_files("#file input", path)
        assert answer_for(page, path.name)
        page.set_input_files("#file input", {"name": "half.avi", "mimeType": "video/avi", "buffer": half})
        page.wait_for_selector("#status .message")
        assert page.locator("#all10").is_hidden()  # no result of another clip

    def test_two_users_at_once_get_their_own_answers(self, visit, served):
        clips = list(correct_clips(served[0]).items())[:2]
        pages = [visit() for _ in clips]
        for page, (_, path) in zip(pages, clips, strict=True):
            page.set_input_files("#file input", path)
        for page, (action, path) in zip(pages, clips, strict=True):
            assert action in answer_for(page, path.name)

    def test_the_report_is_shown(self, visit):
        page = visit()
        page.get_by_role("tab", name="Report").click()
        assert page.frame_locator("iframe.report").locator("p").inner_text() == "the report itself"

    def test_an_accepted_correction_is_written_applied_by_split_and_undone(self, visit, served, stage):
        folder = served[0]
        clip = pd.read_csv(folder / "metrics/label_issues.csv")["clip"][0]
        page = visit()
        page.get_by_role("tab", name="Labels").click()
        row = page.locator(".review").filter(has_text=clip)
        row.get_by_role("button", name="Accept wave").click()
        page.locator("#pending").filter(has_text=clip).wait_for()
        assert row.locator("video").evaluate("video => video.play().then(() => true)")
        page.click("#write")
        page.locator("#pending").filter(has_text="dvc repro").wait_for()
        assert (folder / "data/labels.csv").read_text() == f"clip,action\n{clip},wave\n"
        stage(folder, "split")
        split = pd.read_csv(folder / "data/split.csv").set_index("clip")
        assert split["action"][clip] == "wave"
        page.locator(".correction").filter(has_text=clip).get_by_role("button", name="Undo").click()
        page.locator("#pending").filter(has_text="0 corrections").wait_for()
        assert (folder / "data/labels.csv").read_text() == "clip,action\n"

    def test_an_invalid_table_is_reported_and_the_page_lives_on(self, visit, served):
        path = served[0] / "data/labels.csv"
        path.write_text("clip;action\n")
        try:
            page = visit()
            page.get_by_role("tab", name="Labels").click()
            page.get_by_text("has no column clip, action").first.wait_for()
        finally:
            path.unlink()
        assert answer_of(served[1], "/")[0] == 200


def answer_of(address, path, **headers):
    """The status and the bytes that a path is answered with, sent as it is written."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address + path, headers=headers), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def upload_file(address, name, content):
    """Upload a file; returns its path on the server."""
    mark = "glimpse-boundary"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    headers = {"content-type": f"multipart/form-data; boundary={mark}"}
    body = head + content + f"\r\n--{mark}--\r\n".encode()
    request = urllib.request.Request(f"{address}/gradio_api/upload", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        (path,) = json.loads(answer.read())
    return path


class TestAttacks:
    pytestmark = [
        pytest.mark.slow,
        pytest.mark.skipif("gradio" in MISSING, reason="not installed: gradio (requirements-app.txt)"),
    ]

    def test_no_file_of_the_machine_can_be_read(self, served):
        folder, address = served
        paths = ["/etc/passwd", str(folder / "secret.txt"), str(folder / "metrics/link.txt"), "secret.txt",
                 "data/labels.csv", "data/split.csv", "params.yaml", "models/all10/model.pt", "src/frames.py",
                 "../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
                 "%2fetc%2fpasswd", "file:///etc/passwd", f"{folder}/metrics/../secret.txt",
                 str(next((folder / "data/demo").rglob("*.avi")))]  # fmt: skip
        routes = ["/gradio_api/file=", "/gradio_api/file/", "/file=", "/file/", "/static/", "/assets/", "/svelte/",
                  "/clip/", "/gradio_api/proxy=", "/gradio_api/stream/", "/"]  # fmt: skip
        for route in routes:
            for path in paths:
                code, content = answer_of(address, route + path)
                assert code in (400, 403, 404, 405, 422, 500), (route, path, code)
                assert b"root:" not in content and b"a secret" not in content

    def test_a_path_in_place_of_an_upload_is_not_opened(self, served):
        folder, address = served
        config = json.loads(answer_of(address, "/config")[1])
        event = next(item for item in config["dependencies"] if item["targets"][0][1] == "upload")
        clip = next((folder / "data/demo").rglob("*.avi"))
        for path, accepted in ((upload_file(address, clip.name, clip.read_bytes()), True), (str(clip), False)):
            session = f"attack-{accepted}"
            payload = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}], "fn_index": event["id"],
                       "session_hash": session, "trigger_id": event["targets"][0][0]}  # fmt: skip
            request = urllib.request.Request(
                f"{address}/gradio_api/queue/join", json.dumps(payload).encode(), {"content-type": "application/json"}
            )
            urllib.request.urlopen(request, timeout=20).close()
            content = answer_of(address, f"/gradio_api/queue/data?session_hash={session}")[1].replace(b" ", b"")
            expected = b'"success":true' if accepted else b'"success":false'
            assert b"process_completed" in content and expected in content, content[:3000]

    def test_other_pages_and_hosts_and_the_listing_of_the_interface_are_refused(self, served):
        address = served[1]
        assert answer_of(address, "/")[0] == 200
        assert answer_of(address, "/", Host="evil.example")[0] == 403
        assert answer_of(address, "/config", Origin="http://evil.example")[0] == 403
        for path in ("/gradio_api/info", "/gradio_api/openapi.json", "/docs", "/openapi.json", "/monitoring"):
            assert answer_of(address, path)[0] == 404

    @pytest.mark.parametrize("name", ["../../../harm.avi", "{}/harm.avi", "..\\..\\harm.avi", "a/b/harm.avi"])
    def test_a_file_name_with_path_characters_stays_in_the_upload_folder(self, served, name):
        folder, address = served
        path = upload_file(address, name.format(folder.parent), b"harm")
        uploads = os.path.dirname(os.path.dirname(path))
        assert os.path.basename(uploads).startswith("glimpse-") and "\\" not in path
        assert os.path.realpath(path) == os.path.join(os.path.realpath(uploads), *path.split("/")[-2:])
        assert not list(folder.parent.rglob("*harm.avi"))

    def test_an_upload_beyond_the_limit_is_refused(self, served):
        with pytest.raises(urllib.error.HTTPError) as caught:
            upload_file(served[1], "big.avi", bytes(upload.MAX_MB * 2**20 + 1000))
        assert caught.value.code == 413
        caught.value.close()
