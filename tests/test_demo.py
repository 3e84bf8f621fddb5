"""The demo: its answers, its refusals over raw requests, and a real browser that uses it."""

from __future__ import annotations

import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from browser import FLAGS, chromium
from conftest import random_captions
from small_models import small_model
from vse_exp.data.scenes import prepare_scenes
from vse_exp.data.scenes.export import write_pictures
from vse_exp.errors import UserError
from vse_exp.models.checkpoint import save_model
from vse_exp.models.vse import VSE
from vse_exp.pages.demo import Demo, Limits, Shelf
from vse_exp.pages.serving import build_server, listen
from vse_exp.retrieval import Gallery, Retriever, build_gallery
from vse_exp.retrieval.pictures import gallery_thumbnails
from vse_exp.text.vocabulary import Vocabulary

HOSTILE = (
    "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
)
IMAGES = 9
LIMITS = Limits(upload_bytes=200_000, upload_pixels=1_000_000)
DEADLINE = 30
"""Seconds that any answer may take."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in data set with nine test images."""
    root = prepare_scenes(tmp_path_factory.mktemp("cache"), 0, 1, 1, IMAGES)
    return root / "scenes"


@pytest.fixture(scope="module")
def model(scenes: Path) -> VSE:
    features = np.load(scenes / "scenes_test_ims.npy")
    words = Vocabulary.build([*random_captions(40), HOSTILE])
    return small_model(words, features.shape[1], dim=16).eval()


@pytest.fixture(scope="module")
def gallery(scenes: Path, model: VSE) -> Gallery:
    return build_gallery(
        model,
        images=np.load(scenes / "scenes_test_ims.npy"),
        image_names=(scenes / "scenes_test_images.txt").read_text().split(),
        captions=[*random_captions(30), HOSTILE],
        source="scenes test",
        pictures="scenes",
        provenance={"backbone": "scenes"},
    )


@pytest.fixture(scope="module")
def demo(model: VSE, gallery: Gallery) -> Demo:
    return Demo([Shelf("", Retriever(model, gallery), gallery_thumbnails(gallery))], LIMITS)


@contextmanager
def running(demo: Demo) -> Iterator[int]:
    """Port of a demo that runs in a thread."""
    pytest.importorskip("uvicorn", reason="needs the extra `demo`")
    pytest.importorskip("starlette", reason="needs the extra `demo`")
    with listen("127.0.0.1", 0) as listener:
        server = build_server(demo)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + DEADLINE
        while not server.started:
            assert time.monotonic() < deadline, "the demo has not started"
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(DEADLINE)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def port(demo: Demo) -> Iterator[int]:
    """Port of a running demo."""
    with running(demo) as number:
        yield number


@pytest.fixture(scope="module")
def hasty_port(demo: Demo) -> Iterator[int]:
    """Port of a demo that waits half a second for a request."""
    hasty = replace(LIMITS, head_seconds=0.5, upload_seconds=0.5)
    with running(Demo(list(demo.shelves.values()), hasty)) as number:
        yield number


def ask(
    port: int, path: str, body: bytes | None = None, method: str = "", **headers: str
) -> tuple[int, dict | bytes]:
    """Status and answer, decoded where it is JSON. Header names are written with underscores."""
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent.setdefault("content-type", "application/octet-stream")
    connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    is_json = response.headers["content-type"] == "application/json"
    return response.status, json.loads(content) if is_json else content


def picture_bytes(kind: str = "PNG", size: tuple[int, int] = (96, 96)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, (200, 30, 40)).save(content, kind)
    return content.getvalue()


def test_a_sentence_finds_images_and_captions(demo: Demo, model: VSE, gallery: Gallery) -> None:
    answer = demo.sentence("", "a red dog", 4)
    assert gallery.images is not None
    scores = gallery.images.vectors @ model.encode_sentences(["a red dog"])[0]
    order = np.argsort(-scores)[:4].tolist()
    assert [hit["item"] for hit in answer["images"]] == order
    assert answer["images"][0]["name"] == gallery.images.names[order[0]]
    assert len(answer["captions"]) == 4
    assert set(answer["milliseconds"]) == {"embedding", "search"}


def test_a_picture_of_the_gallery_finds_itself(demo: Demo, scenes: Path, tmp_path: Path) -> None:
    name = (scenes / "scenes_test_images.txt").read_text().split()[5]
    (path,) = write_pictures(tmp_path, [name])
    answer = demo.picture("", path.read_bytes(), "", "", 3)
    assert answer["images"][0]["item"] == 5
    assert answer["images"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert demo.image("", 5, "", "", 3)["images"] == demo.image("", 5, " ", "", 3)["images"]


def test_words_are_taken_away_and_added(demo: Demo, model: VSE, gallery: Gallery) -> None:
    assert gallery.images is not None
    minus, plus = model.encode_sentences(["red", "blue"])
    wanted = gallery.images.vectors[2] - minus + plus
    scores = gallery.images.vectors @ (wanted / np.linalg.norm(wanted))
    answer = demo.image("", 2, "red", "blue", IMAGES)
    assert [hit["item"] for hit in answer["images"]] == np.argsort(-scores).tolist()
    assert answer["images"][0]["score"] == pytest.approx(float(scores.max()), abs=1e-5)


def test_reasons_are_what_the_score_loses(demo: Demo, model: VSE, gallery: Gallery) -> None:
    answer = demo.reasons("", "a red dog", 3)
    image = gallery.items("images").vectors[3]
    full, without = model.encode_sentences(["a red dog", "a dog"]) @ image
    assert answer["score"] == pytest.approx(full, abs=1e-6)
    assert [word for word, _ in answer["words"]] == ["a ", "red ", "dog"]
    assert answer["words"][1][1] == pytest.approx(full - without, abs=1e-4)
    regions = np.array(answer["regions"])
    assert regions.shape == (8, 8)
    assert regions.any()
    json.dumps(answer)
    with pytest.raises(UserError, match="no image 9"):
        demo.reasons("", "a dog", IMAGES)
    assert demo.reasons("", "dog", 0)["words"][0][0] == "dog"  # nothing is left without it


def test_galleries_are_chosen_by_name(demo: Demo, model: VSE, scenes: Path) -> None:
    small = build_gallery(model, images=np.load(scenes / "scenes_test_ims.npy")[:2])
    shelves = [replace(demo.shelves[""], name="all"), Shelf("two", Retriever(model, small), None)]
    both = Demo(shelves, LIMITS)
    assert len(both.sentence("", "a dog", 50)["images"]) == IMAGES
    assert len(both.sentence("two", "a dog", 50)["images"]) == 2
    assert [one["counts"]["images"] for one in both.about()["galleries"]] == [IMAGES, 2]
    assert both.thumbnail("all", 1) is not None
    assert both.thumbnail("two", 1) is None
    assert both.reasons("two", "a dog", 1)["regions"] is None
    with pytest.raises(UserError, match="no such gallery"):
        both.sentence("three", "a dog", 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"MZ\x90 a program named photo.jpg", "not an image file"),
        (picture_bytes("BMP"), "not an image file"),
        (picture_bytes("TIFF"), "not an image file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image file"),
        (picture_bytes("PDF"), "another JPEG, PNG, GIF or WebP"),
        (picture_bytes()[:60], "Cannot read the picture"),
        (b"\xff\xd8\xff" + bytes(1000), "Cannot read the picture"),
        (picture_bytes(size=(4000, 4000)), "pixels"),
    ],
)
def test_bad_uploads_are_refused_with_a_reason(port: int, content: bytes, message: str) -> None:
    status, answer = ask(port, "/api/search?k=3", content)
    assert status == 400
    assert isinstance(answer, dict)
    assert message in answer["error"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_uploads_of_these_kinds_are_taken(port: int, kind: str) -> None:
    assert ask(port, "/api/search?k=3", picture_bytes(kind))[0] == 200


def test_uploads_are_bounded(port: int) -> None:
    status, answer = ask(port, "/api/search", bytes(LIMITS.upload_bytes + 1))
    assert status == 413
    assert isinstance(answer, dict)
    assert "0.2 MB" in answer["error"]
    # without a declared length it is counted while it comes in
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    parts = iter([bytes(60_000)] * 5)
    connection.request(
        "POST", "/api/search", parts, {"content-type": "image/png"}, encode_chunked=True
    )
    assert connection.getresponse().status == 413
    connection.close()
    # far too large a one is refused before it is sent
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.putrequest("POST", "/api/search")
    connection.putheader("content-type", "image/png")
    connection.putheader("content-length", str(10**12))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert ask(port, "/api/about")[0] == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/pictures/0.jpg", 200),
        (f"/pictures/{IMAGES}.jpg", 404),
        ("/pictures/-1.jpg", 404),
        ("/pictures/..%2f..%2fetc%2fpasswd.jpg", 404),
        ("/pictures/../../etc/passwd", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/api/search?image=99999999", 400),
        ("/api/search?image=99999999999999999999", 404),
        (f"/api/search?image={'7' * 5000}", 404),
        (f"/pictures/{'7' * 5000}.jpg", 404),
        ("/api/search?image=%D9%A3", 404),
        ("/api/search?image=1e3", 404),
        (f"/api/search?q=a&k={'9' * 5000}", 400),
        ("/api/search", 400),
        (f"/api/search?q={'a' * 1001}", 400),
        ("/api/search?q=a&k=-1", 400),
        ("/api/search?q=a&k=%00", 400),
        ("/api/search?q=%FF%FE", 200),
        ("/nothing", 404),
    ],
)
def test_paths_in_requests_open_nothing(port: int, path: str, status: int) -> None:
    found, answer = ask(port, path)
    assert found == status
    assert b"root:" not in (answer if isinstance(answer, bytes) else b"")


def test_other_names_and_other_sites_are_refused(port: int) -> None:
    for host in ("attacker.example", "", "localhost.attacker.example", "[::1", "a@localhost"):
        assert ask(port, "/api/about", host=host)[0] == 403
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", "[::1]"):
        assert ask(port, "/api/about", host=host)[0] == 200
    assert ask(port, "/api/search?q=a", sec_fetch_site="cross-site")[0] == 403
    assert ask(port, "/", sec_fetch_site="cross-site")[0] == 200
    assert ask(port, "/api/search?q=a", method="DELETE")[0] == 405


def test_foreign_origins_are_refused(port: int) -> None:
    own = f"http://127.0.0.1:{port}"
    for origin in ("https://attacker.example", "null", "", "http://127.0.0.1:1", f"{own}.evil"):
        for body in (None, picture_bytes()):
            path = "/api/search" if body else "/api/search?q=a"
            assert ask(port, path, body, origin=origin)[0] == 403, origin
    assert ask(port, "/api/search", picture_bytes(), origin=own)[0] == 200


def test_only_pictures_are_taken(port: int) -> None:
    """All that a form of another site could send, in whatever case, is no picture."""
    for kind in (
        "multipart/form-data; boundary=x",
        "text/plain",
        "TEXT/PLAIN",
        "Text/Plain; charset=utf-8",
        "text/plain, application/octet-stream",
        "application/x-www-form-urlencoded",
        "image/svg+xml",
        "",
    ):
        assert ask(port, "/api/search", picture_bytes(), content_type=kind)[0] == 415, kind
    for kind in ("image/png", "IMAGE/PNG", "application/octet-stream; a=b"):
        assert ask(port, "/api/search", picture_bytes(), content_type=kind)[0] == 200, kind


def left(port: int, *parts: bytes, pause: float = 0.1) -> bytes:
    """What a client gets that sends these parts with pauses, and then waits."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
        for part in parts:
            client.sendall(part)
            time.sleep(pause)
        received = b""
        with suppress(ConnectionResetError):
            while more := client.recv(65536):
                received += more
        return received


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"GET / HT",),
        (b"GET / HTTP/1.1\r\n", b"host: localhost\r\n"),
        (b"GET /api/about HTTP/1.1\r\nhost: localhost\r\n\r\n", b"GET /api"),
    ],
)
def test_half_a_request_is_not_waited_for(hasty_port: int, parts: tuple[bytes, ...]) -> None:
    started = time.monotonic()
    received = left(hasty_port, *parts)
    assert time.monotonic() - started < DEADLINE / 2
    assert received.count(b"HTTP/1.1 200") == int(len(parts) == 2 and parts[1] == b"GET /api")
    assert ask(hasty_port, "/api/about")[0] == 200


def test_a_head_that_drips_in_is_not_waited_for(hasty_port: int) -> None:
    with socket.create_connection(("127.0.0.1", hasty_port), timeout=DEADLINE) as client:
        started = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() < started + DEADLINE:
                client.sendall(b"x")
                time.sleep(0.05)
    assert time.monotonic() < started + DEADLINE / 2


def test_half_an_upload_is_not_waited_for(hasty_port: int) -> None:
    head = (
        b"POST /api/search HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\n"
        b"content-length: 5000\r\n\r\n"
    )
    assert left(hasty_port, head, b"\x89PNG").startswith(b"HTTP/1.1 408")


def test_many_idle_clients_leave_room_for_others(hasty_port: int) -> None:
    clients = [socket.create_connection(("127.0.0.1", hasty_port), DEADLINE) for _ in range(300)]
    try:
        deadline = time.monotonic() + DEADLINE
        while ask(hasty_port, "/api/about")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        for client in clients:
            client.close()


def test_twenty_requests_at_once(port: int) -> None:
    picture = picture_bytes("JPEG")

    def one(number: int) -> tuple[int, object]:
        if number % 2:
            return ask(port, "/api/search?k=2", picture)
        return ask(port, f"/api/search?q={quote('a dog and a cat')}&k=2")

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(one, range(20)))
    assert [status for status, _ in answers] == [200] * 20
    for same in (answers[::2], answers[1::2]):
        items = [[hit["item"] for hit in answer["images"]] for _, answer in same]
        assert items == items[:1] * 10


def test_every_answer_carries_the_headers(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    for path in ("/", "/demo.js", "/pictures/0.jpg", "/nothing"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
    connection.close()


def test_other_machines_are_let_in_only_when_told_so() -> None:
    for host in ("127.0.0.1", "localhost"):
        listen(host, 0).close()
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org", ""):
        # what is written as no, and is read as a text that is not empty, is no yes
        for public in (False, "no", "false"):
            with pytest.raises(UserError, match="public=true"):
                listen(host, 0, public)  # type: ignore[arg-type]
    listen("0.0.0.0", 0, public=True).close()
    with listen("127.0.0.1", 0) as taken, pytest.raises(UserError, match="Cannot listen"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match="Cannot listen"):
        listen("127.0.0.1", 99_999)


@pytest.mark.parametrize("place", ["folder", "tar", "list", "none"])
def test_a_gallery_of_somebody_else_shows_no_picture_of_mine(
    place: str, model: VSE, tmp_path: Path
) -> None:
    """Names that lead out of the gallery's pictures, and lists that do, copy nothing."""
    private, shared = tmp_path / "private", tmp_path / "shared"
    for folder, colour in ((private, "red"), (shared, "blue")):
        folder.mkdir()
        Image.new("RGB", (32, 32), colour).save(folder / "mine.png")
    (shared / "ours.png").write_bytes((shared / "mine.png").read_bytes())
    if place == "tar":
        with tarfile.open(tmp_path / "pictures.tar", "w") as archive:
            archive.add(shared / "ours.png", "ours.png")
    names = [str(private / "mine.png"), "../private/mine.png", "ours.png", "/etc/../etc/passwd"]
    if place == "list":
        (tmp_path / "list.txt").write_text("\n".join(names))
    where = {
        "folder": str(shared),
        "tar": str(tmp_path / "pictures.tar"),
        "list": str(tmp_path / "list.txt"),
        "none": None,
    }[place]
    features = np.eye(len(names), model.dim_image, dtype=np.float32)
    gallery = build_gallery(model, images=features, image_names=names, pictures=where)
    shown = gallery_thumbnails(gallery)
    found = [shown.jpeg(row) if shown else None for row in range(len(names))]
    for content in found:
        if content is not None:
            red, _, blue = Image.open(io.BytesIO(content)).getpixel((16, 16))
            assert blue > 200 > 50 > red, "a picture from elsewhere is shown"
    assert (found[2] is not None) == (place in ("folder", "tar"))
    assert found[3] is None
    if place == "list":  # which its owner may name
        mine = gallery_thumbnails(gallery, where)
        assert mine is not None
        assert mine.jpeg(0) is not None


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A Chromium driven by Playwright."""
    program = chromium()
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright (pip install playwright)"
    )
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=list(FLAGS[1:]))
        yield started
        started.close()


def refused(message) -> bool:
    """What Chromium says of each answer that is an error, as the demo's refusals are."""
    return "Failed to load resource" in message.text and "(Bad Request)" in message.text


@pytest.fixture
def page(browser, port: int) -> Iterator:
    """The demo's page; no request leaves this machine, and no script fails."""
    context = browser.new_context()
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "console",
        lambda m: problems.append(m.text) if m.type == "error" and not refused(m) else None,
    )
    opened.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((f"http://127.0.0.1:{port}/", "blob:", "data:"))
            else problems.append(request.url)
        ),
    )
    opened.set_default_timeout(20_000)
    opened.goto(f"http://127.0.0.1:{port}/")
    yield opened
    assert problems == []
    assert opened.title() == "Images and sentences"
    context.close()


def test_a_browser_searches_by_keyboard(page) -> None:
    page.wait_for_selector("#text:focus")  # it gets the focus by itself
    page.keyboard.type("a red dog")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results figure")
    assert page.locator("#results figure").count() == IMAGES
    assert "search" in page.inner_text("#status")
    assert "q=a+red+dog" in page.url
    image = page.locator("#results img").first
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 240
    # an image that was found is a query in turn
    page.locator("#results figure .hit").nth(2).press("Enter")
    page.wait_for_selector("#arithmetic:not([hidden])")
    page.fill("#minus", "red")
    page.fill("#plus", "blue")
    page.press("#plus", "Enter")
    page.locator("#status", has_text="answered").wait_for()
    page.go_back()
    page.wait_for_selector("#results figure")


def test_a_browser_uploads_a_picture(page, scenes: Path, tmp_path: Path) -> None:
    names = (scenes / "scenes_test_images.txt").read_text().split()
    (path,) = write_pictures(tmp_path, [names[4]])
    page.set_input_files("#file", path)
    page.wait_for_selector("#results figure")
    assert page.locator("#results h2").all_inner_texts() == ["Captions", "Images"]
    assert names[4] in page.locator("#results figure .hit").first.get_attribute("title")
    assert "picture" in page.inner_text("#status")


def test_a_hostile_caption_is_text(page) -> None:
    page.fill("#text", HOSTILE)
    page.press("#text", "Enter")
    page.wait_for_selector("#results li")
    assert page.locator("#results li .hit").first.inner_text() == HOSTILE
    assert page.locator("#results script, #results img[src='x']").count() == 0


def test_a_browser_is_told_of_uploads_that_are_too_large(page, tmp_path: Path) -> None:
    page.wait_for_load_state("networkidle")  # it has asked for the limits
    (tmp_path / "large.jpg").write_bytes(b"\xff\xd8\xff" + bytes(LIMITS.upload_bytes))
    page.set_input_files("#file", tmp_path / "large.jpg")
    page.wait_for_selector("#status.mistake")
    assert "choose a smaller one" in page.inner_text("#status")
    (tmp_path / "text.jpg").write_text("no picture at all")
    page.set_input_files("#file", tmp_path / "text.jpg")
    page.locator("#status", has_text="another JPEG").wait_for()


def test_a_query_is_a_link_and_is_remembered(page, port: int) -> None:
    page.goto(f"http://127.0.0.1:{port}/?image=2&plus=blue")
    page.wait_for_selector("#results figure")
    assert page.input_value("#plus") == "blue"
    assert page.inner_text("#invite") != "a picture"  # its name has come with the answer
    page.locator("#results li .hit").first.click()
    page.wait_for_url(re.compile(r"/\?q="))
    page.locator("#recent a").nth(1).wait_for()
    page.go_back()
    page.wait_for_selector("#arithmetic:not([hidden])")
    page.locator('#recent a[href^="/?q="]').first.click()
    page.wait_for_url(re.compile(r"/\?q="))
    page.get_by_text("Forget these").click()
    page.wait_for_selector("#recent", state="hidden")


def test_a_browser_is_shown_why(page, scenes: Path, tmp_path: Path) -> None:
    page.fill("#text", "a red dog")
    page.press("#text", "Enter")
    page.wait_for_selector("#results figure")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("w")
    page.wait_for_selector("#why[open]")
    assert page.locator("#why .word").all_inner_texts()[1].startswith("red")
    assert page.locator("#why .regions i").count() == 64
    page.keyboard.press("Escape")
    names = (scenes / "scenes_test_images.txt").read_text().split()
    (path,) = write_pictures(tmp_path, [names[4]])
    page.set_input_files("#file", path)
    page.locator("#results li .why").first.click()
    page.wait_for_selector("#why[open]")
    assert page.locator("#why img").get_attribute("src").startswith("blob:")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_accessible(page, port: int, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto(f"http://127.0.0.1:{port}/?image=2")
    page.wait_for_selector("#results figure")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.locator("#results li .why").first.click()
    page.wait_for_selector("#why[open]")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    assert axe.Axe().run(page).violations_count == 0


def test_light_and_dark_are_chosen(page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(paper)
    page.locator("h1").click()
    page.keyboard.press("t")
    page.keyboard.press("t")
    assert page.inner_text("#theme") == "Dark"
    assert page.evaluate(paper) != light
    page.reload()
    assert page.inner_text("#theme") == "Dark"


def test_the_page_fits_a_phone(page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.fill("#text", "a dog")
    page.press("#text", "Enter")
    page.wait_for_selector("#results figure")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#results figure .hit").first.click()
    page.wait_for_selector("#arithmetic:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_command_serves_until_it_is_interrupted(
    model: VSE, scenes: Path, tmp_path: Path
) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra `demo`")
    save_model(model, tmp_path / "model.ckpt")
    command = [sys.executable, "-m", "vse_exp.demo", f"checkpoint={tmp_path / 'model.ckpt'}"]
    environment = os.environ | {"VSE_CACHE_DIR": str(scenes.parents[1])}
    sizes = ["data.scenes.n_train=1", "data.scenes.n_dev=1", f"data.scenes.n_test={IMAGES}"]
    process = subprocess.Popen(
        [*command, "port=0", *sizes],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert select.select([process.stdout], [], [], 4 * DEADLINE)[0], "no address is told"
        line = process.stdout.readline()
        port = int(line.split("127.0.0.1:")[1].split(" ")[0])
        status, answer = ask(port, "/api/search?q=a+dog&k=2")
        assert status == 200
        assert isinstance(answer, dict)
        assert len(answer["images"]) == 2
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors
    signs_of_life = "demo: "
    assert [line for line in errors.splitlines() if not line.startswith(signs_of_life)] == []
    assert [path.name for path in tmp_path.iterdir()] == ["model.ckpt"]
