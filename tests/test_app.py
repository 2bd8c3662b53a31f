"""The web page, used as people use it: in a browser, two at once, with broken files, and by somebody who means harm."""

import asyncio
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import pandas as pd
import pytest
from conftest import ROOT, write_clip

from glimpse.app import upload as trying
from glimpse.app.security import LocalOnlyMiddleware, refused
from glimpse.core.frame_store import StoredClip
from glimpse.frames.decoder import UnreadableClip
from glimpse.split.labels import read_corrections, write_correction

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LACKING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
LACKING += [] if CHROMIUM else ["chromium"]
in_a_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)} (requirements-app.txt)"),
    # Playwright closes its pipes late, and its event loop is not ours
    pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning"),
]
ARGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
FOLDERS = {"a/1.avi": "a", "a/2.avi": "a", "b/1.avi": "b"}


def test_a_correction_is_one_row_more_and_taken_back_one_less(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("clip,action\ngone/9.avi,c\n")
    write_correction(path, {"a/1.avi": "b"}, FOLDERS)
    assert write_correction(path, {"a/2.avi": "b", "a/1.avi": "c"}, FOLDERS)["a/1.avi"] == "c"
    assert path.read_text() == "clip,action\ngone/9.avi,c\na/1.avi,c\na/2.avi,b\n"
    write_correction(path, {"a/1.avi": "a"}, FOLDERS)
    assert read_corrections(path) == {"gone/9.avi": "c", "a/2.avi": "b"}


def test_a_persons_own_columns_stay(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("clip,action,why\na/1.avi,b,seen twice\n")
    write_correction(path, {"a/2.avi": "b"}, FOLDERS)
    assert path.read_text() == "clip,action,why\na/1.avi,b,seen twice\na/2.avi,b,\n"


@pytest.mark.parametrize("wanted", [{"a/9.avi": "b"}, {"a/1.avi": "=cmd"}, {"../../x": "a"}])
def test_only_clips_and_actions_of_the_data_set_are_written(tmp_path, wanted):
    with pytest.raises(ValueError, match="of the data set"):
        write_correction(tmp_path / "labels.csv", wanted, FOLDERS)
    assert not (tmp_path / "labels.csv").exists()


def test_a_clip_beyond_a_limit_gets_its_sentence(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.avi", range(20, 220, 2))  # 100 frames, 4 s
    assert isinstance(trying.read(clip, 20, 176), trying.UploadedClip)
    for name, most, words in (
        ("SECONDS", 3, "too long: 4 s, at most 3 s"),
        ("WIDEST", 60, "too large: 64x48 pixels"),
        ("MEGABYTES", 0.001, "too large: at most 0.001 MB"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(trying, name, most)
            reason = trying.read(clip, 20, 176)
            assert isinstance(reason, UnreadableClip) and words in str(reason)


def test_what_the_page_plays_is_a_webm_of_the_whole_clip(tmp_path):
    clip = trying.read(write_clip(tmp_path / "clip.avi", range(20, 220, 2)), 20, 176)
    (tmp_path / "played.webm").write_bytes(clip.played)
    again = trying.read(tmp_path / "played.webm", 20, 176)
    assert (
        clip.played.startswith(b"\x1aE\xdf\xa3")
        and abs(again.frames - 100) <= 1
        and isinstance(again.stored, StoredClip)
    )


def test_a_clip_that_cannot_be_played_is_answered_all_the_same(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(trying, "_make_playable", full)
    tried = trying.read(write_clip(tmp_path / "clip.avi", range(20, 220, 2)), 20, 176)
    assert isinstance(tried, trying.UploadedClip) and tried.played == b""


def asked_for(path, method="GET", **headers):
    """What the gate says of a request."""
    held = {"host": "127.0.0.1:7860"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {"type": "http", "method": method, "path": path}
    return refused(scope | {"headers": [(name.encode(), value.encode()) for name, value in held.items()]})


def test_the_gate_lets_the_page_through_and_nobody_else():
    assert asked_for("/") == asked_for("/clip/0.jpg") == asked_for("/gradio_api/queue/join", "POST") == ""
    assert asked_for("/", sec_fetch_site="cross-site") == ""  # somebody follows a link
    for path, method in (("/clip/0.jpg", "GET"), ("/gradio_api/queue/join", "POST"), ("/", "POST")):
        assert asked_for(path, method, sec_fetch_site="cross-site") == "not for other pages"
    assert asked_for("/gradio_api/file=https://example.com/x") == "no such page"
    assert asked_for("/", host="evil.example") == "not for this host"


def test_a_request_that_is_too_large_or_names_no_host_ends_there():
    taken, sent = [], []

    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            taken.append(len(message["body"]))

    async def receive():
        return {"type": "http.request", "body": bytes(100)}

    async def send(message):
        sent.append(message)

    for host in (b"localhost", b"["):
        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": [(b"host", host)]}
        asyncio.run(LocalOnlyMiddleware(app, 1000)(scope, receive, send))
    assert sum(taken) == 1000 and [message.get("status") for message in sent] == [403, None]


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    """The page of a copy of the small project: its folder and address. Two clips of it are doubted."""
    folder = tmp_path_factory.mktemp("app") / "project"
    shutil.copytree(trained, folder)
    split = pd.read_csv(folder / "data/split.csv")
    rows = split.groupby("action").head(1).head(2)
    doubts = pd.DataFrame({"clip": rows["clip"], "group": rows["group"], "action": rows["action"]})
    doubts["suggested"], doubts["p_action"], doubts["p_suggested"] = "wave", 0.1, 0.8
    doubts["agreement"], doubts["margin"], doubts["mislabelled"] = 1.0, -0.7, "yes"
    doubts.to_csv(folder / "metrics/doubts.csv", index=False)
    (folder / "metrics/report.html").write_text("<!doctype html><p>the report itself</p>")
    (folder / "secret.txt").write_text("a secret")
    os.symlink(folder / "secret.txt", folder / "metrics/link.txt")
    server = subprocess.Popen(
        [sys.executable, ROOT / "src/app.py", "--port", "0"], cwd=folder, stdout=subprocess.PIPE, text=True
    )
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
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield one
        one.close()


@pytest.fixture
def visit(browser, served):
    """Open the page as one more person; all requests of all of them are to the page's own server."""
    contexts, asked = [], []

    def open_page():
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(served[1])
        page.wait_for_selector("#file input", state="attached")
        page.wait_for_timeout(500)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert asked and not [url for url in asked if not url.startswith((served[1], "data:", "blob:"))]


def a_hit_of_each(folder):
    """A test clip of each action that all10 is right and sure about: {action: path}."""
    table = pd.read_csv(folder / "metrics/predictions-all10.csv")
    table["sure"] = [row[f"p({row['action']})"] for _, row in table.iterrows()]
    best = table[table["action"] == table["predicted"]].sort_values("sure").groupby("action").tail(1)
    return {row.action: folder / "data/demo" / row.clip for row in best.itertuples()}


def said_of(page, name):
    """What all10 says, once the page speaks of a file."""
    page.wait_for_function("name => document.querySelector('#answer h3')?.textContent === name", arg=name)
    return page.inner_text("[data-approach=all10] .said")


class TestPage:
    pytestmark = in_a_browser

    def test_a_clip_of_each_action_gets_its_answer(self, visit, served):
        page = visit()
        clips = a_hit_of_each(served[0])
        assert len(clips) >= 4, "the small model finds too few actions to test with"
        for action, path in clips.items():
            page.set_input_files("#file input", path)
            assert action in said_of(page, path.name)
            assert page.locator("[data-approach=all10] figure").count() == 10
            assert page.locator("[data-approach=first5] figure").count() == 5
        assert page.evaluate("document.querySelector('#answer video').play().then(() => true)")

    def test_an_example_is_a_click_away(self, visit):
        page = visit()
        page.locator("#examples .thumbnail-item").first.click()
        assert page.wait_for_selector("#answer .label").inner_text()

    def test_a_broken_file_gets_a_sentence_and_the_page_lives_on(self, visit, served):
        page = visit()
        path = next(iter(a_hit_of_each(served[0]).values()))
        half = path.read_bytes()[: path.stat().st_size // 50]
        page.set_input_files("#file input", {"name": "<b>half.avi", "mimeType": "video/avi", "buffer": half})
        assert "Try another clip." in page.wait_for_selector("#answer .sorry").inner_text()
        page.set_input_files("#file input", path)
        assert said_of(page, path.name)

    def test_two_people_at_once_get_their_own_answers(self, visit, served):
        clips = list(a_hit_of_each(served[0]).items())[:2]
        pages = [visit() for _ in clips]
        for page, (_, path) in zip(pages, clips, strict=True):
            page.set_input_files("#file input", path)
        for page, (action, path) in zip(pages, clips, strict=True):
            assert action in said_of(page, path.name)

    def test_the_report_is_shown(self, visit):
        page = visit()
        page.get_by_role("tab", name="Report").click()
        assert page.frame_locator("iframe.report").locator("p").inner_text() == "the report itself"

    def test_an_accepted_correction_is_one_row_more_and_split_heeds_it(self, visit, served, stage):
        folder = served[0]
        clip = pd.read_csv(folder / "metrics/doubts.csv")["clip"][0]
        page = visit()
        page.get_by_role("tab", name="Labels").click()
        row = page.locator(".doubt").filter(has_text=clip)
        row.get_by_role("button", name="It is wave").click()
        page.locator("#pending").filter(has_text=clip).wait_for()
        assert row.locator("video").evaluate("video => video.play().then(() => true)")
        page.click("#write")
        page.locator("#pending").filter(has_text="dvc repro").wait_for()
        assert (folder / "data/labels.csv").read_text() == f"clip,action\n{clip},wave\n"
        stage(folder, "split")
        split = pd.read_csv(folder / "data/split.csv").set_index("clip")
        assert split["action"][clip] == "wave"
        page.locator(".kept").filter(has_text=clip).get_by_role("button", name="Undo").click()
        page.locator("#pending").filter(has_text="0 corrections").wait_for()
        assert (folder / "data/labels.csv").read_text() == "clip,action\n"

    def test_a_table_that_cannot_be_read_is_told_and_the_page_lives_on(self, visit, served):
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


def uploaded(address, name, content):
    """Uploads a file; where the server keeps it."""
    mark = "glimpse-boundary"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    kind, body = (
        {"content-type": f"multipart/form-data; boundary={mark}"},
        head + content + f"\r\n--{mark}--\r\n".encode(),
    )
    request = urllib.request.Request(f"{address}/gradio_api/upload", body, kind)
    with urllib.request.urlopen(request, timeout=60) as answer:
        (kept,) = json.loads(answer.read())
    return kept


class TestHarm:
    pytestmark = [
        pytest.mark.slow,
        pytest.mark.skipif("gradio" in LACKING, reason="not installed: gradio (requirements-app.txt)"),
    ]

    def test_no_file_of_the_machine_can_be_read(self, served):
        folder, address = served
        wanted = ["/etc/passwd", str(folder / "secret.txt"), str(folder / "metrics/link.txt"), "secret.txt",
                  "data/labels.csv", "data/split.csv", "params.yaml", "models/all10/model.pt", "src/app.py",
                  "../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
                  "%2fetc%2fpasswd", "file:///etc/passwd", f"{folder}/metrics/../secret.txt"]  # fmt: skip
        routes = ["/gradio_api/file=", "/gradio_api/file/", "/file=", "/file/", "/static/", "/assets/", "/svelte/",
                  "/clip/", "/gradio_api/proxy=", "/"]  # fmt: skip
        for route in routes:
            for path in wanted:
                code, content = answer_of(address, route + path)
                assert code in (400, 403, 404, 405, 422, 500), (route, path, code)
                assert b"root:" not in content and b"a secret" not in content

    def test_a_path_in_place_of_an_upload_is_not_opened(self, served):
        folder, address = served
        config = json.loads(answer_of(address, "/config")[1])
        asks = next(one for one in config.dependencies if one["targets"][0][1] == "upload")
        clip = next((folder / "data/demo").rglob("*.avi"))
        for path, opened in ((uploaded(address, clip.name, clip.read_bytes()), True), (str(clip), False)):
            session = f"harm-{opened}"
            payload = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}], "fn_index": asks["id"],
                       "session_hash": session, "trigger_id": asks["targets"][0][0]}  # fmt: skip
            request = urllib.request.Request(
                f"{address}/gradio_api/queue/join", json.dumps(payload).encode(), {"content-type": "application/json"}
            )
            urllib.request.urlopen(request, timeout=20).close()
            content = answer_of(address, f"/gradio_api/queue/data?session_hash={session}")[1].replace(b" ", b"")
            wanted = b'"success":true' if opened else b'"success":false'
            assert b"process_completed" in content and wanted in content, content[:3000]

    def test_other_pages_and_hosts_and_the_listing_of_the_interface_are_refused(self, served):
        address = served[1]
        assert answer_of(address, "/")[0] == 200
        assert answer_of(address, "/", Host="evil.example")[0] == 403
        assert answer_of(address, "/config", Origin="http://evil.example")[0] == 403
        for path in ("/gradio_api/info", "/gradio_api/openapi.json", "/docs", "/openapi.json", "/monitoring"):
            assert answer_of(address, path)[0] == 404

    @pytest.mark.parametrize("name", ["../../../harm.avi", "{}/harm.avi", "..\\..\\harm.avi", "a/b/harm.avi"])
    def test_a_name_with_path_characters_goes_nowhere(self, served, name):
        folder, address = served
        kept = uploaded(address, name.format(folder.parent), b"harm")
        uploads = os.path.dirname(os.path.dirname(kept))
        assert os.path.basename(uploads).startswith("glimpse-") and "\\" not in kept
        assert os.path.realpath(kept) == os.path.join(os.path.realpath(uploads), *kept.split("/")[-2:])
        assert not list(folder.parent.rglob("*harm.avi"))

    def test_an_upload_beyond_the_limit_is_refused(self, served):
        with pytest.raises(urllib.error.HTTPError) as caught:
            uploaded(served[1], "big.avi", bytes(trying.MEGABYTES * 2**20 + 1000))
        assert caught.value.code == 413
        caught.value.close()
