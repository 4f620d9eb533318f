"""The Open Inference Protocol as Triton's own client speaks it, with a server as a process."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.http as triton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

from export.bundle import load_bundle
from serving.inference.routes import open_inference_routes
from tests.serving.asking import Reply, ask
from tests.serving.color_bundle import CLASSES, SIDE
from tests.serving.conftest import Server

INFER = "/v2/models/colors/infer"
LENGTH = "Inference-Header-Content-Length"
IMAGES = np.random.default_rng(0).random((3, 3, SIDE, SIDE)).astype(np.float32)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4) as connected:
        yield connected


@pytest.fixture(scope="module")
def logits(models_dir: Path) -> np.ndarray:
    """What ONNX Runtime itself answers."""
    session = onnxruntime.InferenceSession(models_dir / "colors" / "1" / "classifier.onnx")
    return np.asarray(session.run(["logits"], {"images": IMAGES})[0])


def _input(images: np.ndarray = IMAGES, *, binary: bool = True) -> list[triton.InferInput]:
    tensor = triton.InferInput("images", list(images.shape), "FP32")
    return [tensor.set_data_from_numpy(images, binary_data=binary)]


def test_health_and_readiness(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("colors")
    assert client.is_model_ready("colors", "1")
    assert not client.is_model_ready("other")
    assert not client.is_model_ready("colors", "2")


def test_metadata(client: triton.InferenceServerClient, models_dir: Path) -> None:
    server = client.get_server_metadata()
    model = client.get_model_metadata("colors")

    assert server["name"] == "clead-serve"
    assert set(server["extensions"]) == {"binary_tensor_data", "classification"}
    assert model == client.get_model_metadata("colors", "1")
    assert model == {
        "name": "colors",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, 3, SIDE, SIDE]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, len(CLASSES)]}],
        "parameters": {"version": "1", "sha256": load_bundle(models_dir / "colors" / "1").sha256},
    }


def test_models_are_listed(client: triton.InferenceServerClient, server: Server) -> None:
    colors = {"name": "colors", "version": "1", "state": "READY", "reason": ""}

    assert client.get_model_repository_index() == [colors]
    assert ask(server.port, "POST", "/v2/repository/index", b'{"ready": true}').json == [colors]


@pytest.mark.parametrize("binary_input", [True, False], ids=["binary input", "JSON input"])
@pytest.mark.parametrize(
    "binary_output", [True, False, None], ids=["binary output", "JSON output", "no outputs"]
)
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_logits_are_those_of_the_model(
    client: triton.InferenceServerClient,
    logits: np.ndarray,
    binary_input: bool,
    binary_output: bool | None,
    compression: str | None,
) -> None:
    outputs = None
    if binary_output is not None:
        outputs = [triton.InferRequestedOutput("logits", binary_data=binary_output)]

    result = client.infer(
        "colors",
        _input(binary=binary_input),
        outputs=outputs,
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )

    np.testing.assert_allclose(result.as_numpy("logits"), logits, rtol=1e-6)
    assert result.as_numpy("logits").dtype == np.float32
    assert ("data" in result.get_output("logits")) == (binary_output is False)


def test_the_answer_names_the_request_and_the_model(
    client: triton.InferenceServerClient, models_dir: Path
) -> None:
    for version in ("", "1"):
        answer = client.infer("colors", _input(), model_version=version, request_id="täg 1").get_response()

        assert answer["id"] == "täg 1"
        assert (answer["model_name"], answer["model_version"]) == ("colors", "1")
        assert answer["parameters"]["sha256"] == load_bundle(models_dir / "colors" / "1").sha256
    assert "id" not in client.infer("colors", _input()).get_response()


def test_requests_may_overlap(client: triton.InferenceServerClient, logits: np.ndarray) -> None:
    started = [client.async_infer("colors", _input(IMAGES[[i % 3]])) for i in range(12)]

    for number, pending in enumerate(started):
        answer = pending.get_result().as_numpy("logits")
        np.testing.assert_allclose(answer, logits[[number % 3]], rtol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
def test_the_most_probable_classes_by_name(
    client: triton.InferenceServerClient, logits: np.ndarray, binary: bool
) -> None:
    for asked, expected_count in ((1, 1), (2, 2), (50, len(CLASSES))):
        output = triton.InferRequestedOutput("logits", binary_data=binary, class_count=asked)

        answer = client.infer("colors", _input(), outputs=[output]).as_numpy("logits")

        assert answer.shape == (len(IMAGES), expected_count)
        for row, expected in zip(answer, logits, strict=True):
            texts = [text.decode() if isinstance(text, bytes) else text for text in row]
            for text, index in zip(texts, np.argsort(-expected), strict=False):
                value, number, label = text.split(":")
                assert (int(number), label) == (index, CLASSES[index])
                assert float(value) == pytest.approx(expected[index], abs=1e-5)


def _refusal(client: triton.InferenceServerClient, *args: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(*args, **options)
    return caught.value.status(), caught.value.message()


def test_the_client_shows_our_sentences(client: triton.InferenceServerClient) -> None:
    shared = _input()
    shared[0].set_shared_memory("region", IMAGES.nbytes)
    unknown = [triton.InferRequestedOutput("gradient")]

    for (status, sentence), expected, words in (
        (_refusal(client, "colors", _input(IMAGES * 2)), "422", "[0, 1]"),
        (_refusal(client, "colors", _input(IMAGES[:, :, 1:])), "422", "[N, 3, 8, 8]"),
        (_refusal(client, "colors", _input(np.repeat(IMAGES, 2, axis=0))), "413", "at most 4 images"),
        (
            _refusal(client, "colors", _input(np.zeros((3000, 3, SIDE, SIDE), np.float32))),
            "413",
            "2000000 bytes",
        ),
        (_refusal(client, "colors", shared), "422", "shared memory"),
        (_refusal(client, "colors", _input(), outputs=unknown), "422", "no output 'gradient'"),
        (_refusal(client, "other", _input()), "404", "colors/1"),
        (_refusal(client, "colors", _input(), model_version="9"), "404", "colors/1"),
        (_refusal(client, "..", _input()), "404", ""),
        (_refusal(client, "colors", _input(), headers={"Content-Encoding": "br"}), "415", "gzip"),
    ):
        assert status == expected, sentence
        assert words in sentence
    with pytest.raises(InferenceServerException, match="there is nothing at '/v2/models/colors/config'"):
        client.get_model_config("colors")


def _problem(reply: Reply, code: str) -> None:
    assert reply.json["code"] == code
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["error"] == reply.json["detail"]
    assert reply.json["request_id"] == reply.headers["x-request-id"]


def _binary_request(images: np.ndarray = IMAGES) -> tuple[bytes, dict[str, str]]:
    body, length = triton.InferenceServerClient.generate_request_body(_input(images))
    return body, {LENGTH: str(length)}


@pytest.mark.parametrize("length", ["", "-1", "1e3", "٣", "9" * 20, "0x10"])
def test_a_header_length_that_is_no_length_is_refused(server: Server, length: str) -> None:
    body, _ = _binary_request()

    reply = ask(server.port, "POST", INFER, body, headers={LENGTH: length.encode().decode("latin-1")})

    _problem(reply, "malformed_inference_request")


def test_more_than_is_allowed_is_refused_while_it_streams_and_while_it_is_inflated(server: Server) -> None:
    bomb = gzip.compress(bytes(3_000_000))
    _problem(ask(server.port, "POST", INFER, bomb, headers={"Content-Encoding": "gzip"}), "body_too_large")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(
            b"POST " + INFER.encode() + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(3):
            connection.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
        # No end of the body: the answer must come without it.
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v2/", "not_found"),
        ("GET", "/v2/models", "not_found"),
        ("GET", "/v2/models/other", "model_not_found"),
        ("GET", "/v2/models/colors/versions/2", "model_not_found"),
        ("GET", "/v2/models/colors%00/ready", "model_not_found"),
        ("GET", "/v2/models/%ff", "model_not_found"),
        ("GET", INFER, "method_not_allowed"),
        ("POST", "/v2/models/colors", "method_not_allowed"),
        ("POST", "/v2/repository/models/colors/load", "not_found"),
        ("POST", "/v2/systemsharedmemory/region/a/register", "not_found"),
        ("POST", INFER, "malformed_inference_request"),
    ],
)
def test_what_is_not_there_is_a_problem_with_an_error(
    server: Server, method: str, path: str, code: str
) -> None:
    _problem(ask(server.port, method, path), code)


def test_only_this_protocol_has_an_error_member(server: Server) -> None:
    assert "error" not in ask(server.port, "GET", "/v2x").json
    assert "error" not in ask(server.port, "GET", "/models/other").json


def test_a_wrong_index_request_is_refused(server: Server) -> None:
    for body, code in ((b'{"ready": 1}', "malformed_inference_request"), (b"x" * 5000, "body_too_large")):
        _problem(ask(server.port, "POST", "/v2/repository/index", body), code)


def test_images_are_counted_and_routes_named_in_the_metrics(server: Server) -> None:
    def counted() -> float:
        lines = ask(server.port, "GET", "/metrics").body.decode().splitlines()
        assert any(line.startswith('clead_requests_total{route="infer",status="200"}') for line in lines)
        return float(next(line for line in lines if line.startswith("clead_images_total")).split()[-1])

    body, headers = _binary_request()
    ask(server.port, "POST", INFER, body, headers=headers)
    before = counted()
    assert ask(server.port, "POST", INFER, body, headers=headers).status == 200
    assert counted() == before + len(IMAGES)


def test_every_path_of_the_protocol_begins_alike() -> None:
    assert all(route.path.split("/")[1] == "v2" for route in open_inference_routes())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_break_the_server(server: Server, data: st.DataObject) -> None:
    body, headers = _binary_request(IMAGES[:1])
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    sent = data.draw(
        st.sampled_from([bytes(changed), gzip.compress(bytes(changed))]) | st.binary(max_size=50)
    )
    headers[LENGTH] = data.draw(st.just(headers[LENGTH]) | st.integers(-1, 2000).map(str))
    encoding = data.draw(st.sampled_from(["identity", "gzip", "deflate"]))

    reply = ask(server.port, "POST", INFER, sent, headers={**headers, "Content-Encoding": encoding})

    assert reply.status == 200 or 400 <= reply.status < 500, reply.body
    if reply.status != 200:
        assert json.loads(reply.body)["error"]
