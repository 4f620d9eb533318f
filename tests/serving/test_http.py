"""The server as a process: classification, models, status, and every kind of bad request."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import pytest

from export.bundle import load_bundle
from serving.client import Client, ServerProblem
from serving.problems import KINDS
from tests.serving import pictures
from tests.serving.asking import Reply, ask, form
from tests.serving.conftest import Server

IMAGE = pictures.plain()
PROBLEM = "application/problem+json"


def _problem(reply: Reply, code: str) -> str:
    """Checks the form of a problem and gives its detail."""
    assert reply.json["code"] == code
    assert reply.status == reply.json["status"] == KINDS[code].status
    assert reply.headers["content-type"] == PROBLEM
    assert reply.json["request_id"] == reply.headers["x-request-id"]
    assert {"type", "title", "instance"} <= reply.json.keys()
    return str(reply.json["detail"])


def test_one_image_is_classified(client: Client, models_dir: Path) -> None:
    answer = client.classify(IMAGE, top=2)
    bundle = load_bundle(models_dir / "colors" / "1")

    assert answer.model == ("colors", "1", bundle.sha256)
    assert (answer.predictions[0].label, answer.predictions[0].index) == ("red", 0)
    assert [label.label for label in answer.predictions[0].top] == ["red", "green"]
    assert answer.predictions[0].probability == answer.predictions[0].top[0].probability > 0.99


def test_several_images_are_answered_in_order(client: Client) -> None:
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (0, 200, 0)]

    answer = client.classify(*[pictures.plain(color) for color in colors], top=1)

    assert [prediction.label for prediction in answer.predictions] == ["red", "green", "blue", "green"]


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("image/png", "PNG"),
        ("image/jpeg", "JPEG"),
        ("IMAGE/WEBP; q=1", "WEBP"),
        ("application/octet-stream", "PNG"),
        (None, "PNG"),
        ("image/jpeg", "PNG"),
    ],
)
def test_content_decides_over_the_declared_type(server: Server, content_type: str | None, kind: str) -> None:
    reply = ask(server.port, "POST", "/classify", pictures.plain(kind=kind), content_type)

    assert reply.status == 200
    assert reply.json["predictions"][0]["label"] == "red"


def test_parameters_may_come_in_the_form(server: Server) -> None:
    reply = ask(server.port, "POST", "/classify", *form([("image", "a.png", IMAGE), ("top", None, b"1")]))

    assert len(reply.json["predictions"][0]["top"]) == 1


@pytest.mark.parametrize("model", ["colors", "colors/1"])
def test_the_model_may_be_named(client: Client, model: str) -> None:
    assert client.classify(IMAGE, model=model).model.version == "1"


@pytest.mark.parametrize(
    ("body", "content_type", "path", "code"),
    [
        (b"", "image/png", "/classify", "empty_body"),
        (b"hello", "image/png", "/classify", "unsupported_image"),
        (pictures.plain(kind="GIF"), "image/png", "/classify", "unsupported_image"),
        (IMAGE[:40], "image/png", "/classify", "image_broken"),
        (pictures.bomb(5001), "image/png", "/classify", "image_too_large"),
        (b"x" * 2_000_001, "image/png", "/classify", "body_too_large"),
        (IMAGE, "image/gif", "/classify", "unsupported_media_type"),
        (b"{}", "application/json", "/classify", "unsupported_media_type"),
        (b"a=b", "application/x-www-form-urlencoded", "/probe", "unsupported_media_type"),
        (b"abc", "multipart/form-data", "/classify", "malformed_multipart"),
        (b"abc", "multipart/form-data; boundary=x", "/classify", "malformed_multipart"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", "/classify", "image_missing"),
        (IMAGE, "image/png", "/classify?top=0", "invalid_parameter"),
        (IMAGE, "image/png", "/classify?tops=1", "invalid_parameter"),
        (IMAGE, "image/png", "/classify?top=1&top=2", "invalid_parameter"),
        (IMAGE, "image/png", "/classify?model=other", "model_not_found"),
        (IMAGE, "image/png", "/classify?model=..%2F..", "model_not_found"),
        (IMAGE, "image/png", "/classify?model=colors%2F9", "model_not_found"),
        (IMAGE, "image/png", "/probe?eps=-1", "invalid_parameter"),
        (IMAGE[:40], "image/png", "/probe", "image_broken"),
    ],
)
def test_bad_requests_get_a_clear_problem(
    server: Server, body: bytes, content_type: str, path: str, code: str
) -> None:
    assert _problem(ask(server.port, "POST", path, body, content_type), code)


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([("image", "a.png", b"")], "empty_body"),
        ([("image", None, b"text")], "image_missing"),
        ([("file", "a.png", IMAGE)], "invalid_parameter"),
        ([("top", None, b"1")], "image_missing"),
        ([("image", f"{i}.png", IMAGE) for i in range(5)], "too_many_images"),
        ([("image", f"{i}.png", IMAGE) for i in range(50)], "too_many_images"),
        ([(f"field{i}", None, b"1") for i in range(100)], "malformed_multipart"),
        ([("top", None, b"1" * 100_000)], "malformed_multipart"),
    ],
)
def test_bad_forms_get_a_clear_problem(
    server: Server, parts: list[tuple[str, str | None, bytes]], code: str
) -> None:
    _problem(ask(server.port, "POST", "/classify", *form(parts)), code)


def test_a_form_that_was_cut_off_is_not_taken_for_one_with_fewer_images(server: Server) -> None:
    body, content_type = form([("image", "a.png", IMAGE), ("image", "b.png", IMAGE)])

    whole = ask(server.port, "POST", "/classify", body.removesuffix(b"\r\n"), content_type)
    assert len(whole.json["predictions"]) == 2
    for cut in (4, 100):
        _problem(ask(server.port, "POST", "/classify", body[:-cut], content_type), "malformed_multipart")


def test_the_broken_one_of_several_images_is_named(server: Server) -> None:
    parts = [("image", "a.png", IMAGE), ("image", "b.png", IMAGE[:40])]

    reply = ask(server.port, "POST", "/classify", *form(parts))

    assert "image 1" in _problem(reply, "image_broken")
    assert reply.json["model"]["name"] == "colors"


def test_a_body_without_length_is_counted_while_it_streams(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(
            b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(3):
            connection.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
        # No end of the body: the answer must come without it.
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/nothing", "/classify/", "/healthz", "/schema.json", "/static_content/a"])
def test_unknown_paths_are_problems(server: Server, path: str) -> None:
    assert "/classify" in _problem(ask(server.port, "GET", path), "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/classify", "POST"),
        ("POST", "/livez", "GET"),
        ("DELETE", "/metrics", "GET"),
        ("PUT", "/docs", "GET"),
    ],
)
def test_wrong_methods_are_problems(server: Server, method: str, path: str, allowed: str) -> None:
    reply = ask(server.port, method, path)

    _problem(reply, "method_not_allowed")
    assert allowed in reply.headers["allow"]


def test_a_sane_request_id_is_kept_and_another_is_replaced(server: Server) -> None:
    kept = ask(server.port, "GET", "/livez", headers={"X-Request-ID": "abc-123"})
    replaced = ask(server.port, "GET", "/livez", headers={"X-Request-ID": 'a"b' * 100})

    assert kept.headers["x-request-id"] == "abc-123"
    assert re.fullmatch("[0-9a-f]{32}", replaced.headers["x-request-id"])


def test_models_and_cards(client: Client, models_dir: Path) -> None:
    sha256 = load_bundle(models_dir / "colors" / "1").sha256
    listed = client.models()
    card = client.model("colors/1")

    assert listed["default"] == "colors"
    assert listed["models"] == [
        {
            "name": "colors",
            "version": "1",
            "sha256": sha256,
            "loaded": True,
            "current": True,
            "engine": client.ready()["engine"],
            "error": None,
        }
    ]
    assert card["model"] == {"name": "colors", "version": "1", "sha256": sha256}
    assert card["manifest"]["threat"] == {"norm": "linf", "eps": 8 / 255}
    with pytest.raises(ServerProblem) as caught:
        client.model("other")
    assert (caught.value.code, caught.value.status) == ("model_not_found", 404)


def test_ready_says_what_runs(client: Client) -> None:
    ready = client.ready()

    assert ready["ready"] is True
    assert ready["model"]["name"] == "colors"
    assert ready["engine"]["provider"].endswith("ExecutionProvider")
    assert {"engine", "device", "version", "reason", "unused_gpu"} <= ready["engine"].keys()


def test_metrics_count_what_happened(server: Server) -> None:
    server.client.classify(IMAGE)
    ask(server.port, "GET", "/nowhere/at/all")

    text = ask(server.port, "GET", "/metrics").body.decode()

    for line in (
        r'clead_requests_total\{route="classify",status="200"\} [1-9]',
        r'clead_requests_total\{route="unmatched",status="404"\} [1-9]',
        r'clead_request_seconds_bucket\{le="[^"]+",route="classify"\} ',
        r'clead_model_info\{name="colors",sha256="[0-9a-f]{64}",version="1"\} 1',
        r'clead_engine_info\{[^}]*provider="[A-Za-z]+ExecutionProvider"',
        r'clead_shed_total\{lane="probe",reason="full"\} [0-9]',
    ):
        assert re.search(line, text), line
    assert "nowhere" not in text


def test_docs_and_openapi(server: Server) -> None:
    page = ask(server.port, "GET", "/docs")
    document = ask(server.port, "GET", "/openapi.json").json

    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(rb"<script|<link|<img|https?://", page.body)
    assert all(code.encode() in page.body for code in KINDS)
    assert ask(server.port, "GET", "/docs", headers={"Accept": "application/json"}).json == document
    assert ask(server.port, "GET", "/").headers["location"] == "/docs"


@pytest.mark.parametrize("route", ["/classify", "/probe?deadline_ms=200"])
def test_collected_uploads_never_break_the_server(server: Server, route: str) -> None:
    folder = os.environ.get("CLEAD_UPLOADS_DIR")
    if folder is None:
        pytest.skip("CLEAD_UPLOADS_DIR names no folder of collected uploads")
    for entry in json.loads((Path(folder) / "manifest.json").read_text()):
        data = (Path(folder) / entry["file"]).read_bytes()
        reply = ask(server.port, "POST", route, data, "application/octet-stream")

        assert reply.status == 200 or 400 <= reply.status < 500, (entry["file"], reply.body)
        if len(data) <= 2_000_000:
            expected = {"ok": {200}, "reject": {413, 415, 422}, "either": {200, 413, 415, 422}}[
                entry["expect"]
            ]
            assert reply.status in expected, entry["file"]


def test_a_field_name_that_utf_8_cannot_encode_is_an_unknown_parameter(server: Server) -> None:
    body, content_type = form([("image", "a.png", pictures.plain()), ("+2AA-", None, b"1")])

    reply = ask(server.port, "POST", "/classify", body, f"{content_type}; charset=utf-7")

    assert reply.status == 422
    assert reply.json["code"] == "invalid_parameter"
    assert reply.json["parameter"] == "\ud800"
