"""/probe on the server as a process; the model is linear, so its smallest flipping eps is known exactly."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time

import pytest

from serving.client import Client, ServerProblem
from tests.serving import pictures
from tests.serving.asking import ask, form
from tests.serving.color_bundle import SIDE
from tests.serving.conftest import Server

# Channel means 140, 120 and 10: red turns green once both have moved by 10 levels.
IMAGE = pictures.plain((140, 120, 10), (SIDE, SIDE))
FLIPS_AT = 10 / 255


def test_the_search_finds_the_smallest_eps(client: Client) -> None:
    report = client.probe(IMAGE, deadline_ms=30_000)

    assert report["model"]["name"] == "colors"
    assert report["prediction"]["label"] == "red"
    assert report["space"] == {"name": "model_input", "height": SIDE, "width": SIDE}
    assert report["threat"] == {"norm": "linf", "eps": pytest.approx(8 / 255)}
    assert report["verdict"] == "held"
    assert report["minimal_eps"]["held"] <= FLIPS_AT + 1e-4
    assert report["minimal_eps"]["flipped"] == pytest.approx(FLIPS_AT, rel=0.05)
    assert report["minimal_eps_8bit"] == pytest.approx(11 / 255, abs=1e-6)
    assert report["budget"]["exhausted"] is False


def test_a_larger_eps_flips(client: Client) -> None:
    report = client.probe(IMAGE, eps="4/255,12/255,0", deadline_ms=30_000)

    assert report["verdict"] == "flipped"
    assert report["threat"]["eps"] == pytest.approx(12 / 255)
    points = {round(point["eps"] * 255): point for point in report["curve"]}
    assert [points[k]["flipped"] for k in (0, 4, 12)] == [False, False, True]
    assert points[12]["label"] == "green"


def test_the_adversarial_image_is_what_the_report_says(client: Client) -> None:
    report = client.probe(IMAGE, eps="12/255", include="adversarial,difference", deadline_ms=30_000)
    images = report["images"]
    data = base64.b64decode(images["adversarial"].removeprefix("data:image/png;base64,"))

    prediction = client.classify(data).predictions[0]

    assert prediction.label == images["label"] == "green"
    assert prediction.probability == pytest.approx(images["probability"], abs=1e-6)
    assert images["difference"].startswith("data:image/png;base64,")


def test_images_are_returned_only_when_asked_for(client: Client) -> None:
    images = client.probe(IMAGE, eps="12/255", deadline_ms=30_000)["images"]

    assert images["adversarial"] is None
    assert images["difference"] is None


def test_the_same_seed_gives_the_same_report(client: Client) -> None:
    first, second = (
        dict(client.probe(IMAGE, norm="l2", eps="0.2", seed=5, deadline_ms=30_000)) for _ in range(2)
    )
    for report in (first, second):
        report["budget"] = {key: value for key, value in report["budget"].items() if key != "seconds"}

    assert first == second


def test_a_certificate_comes_with_the_report_when_asked_for(client: Client) -> None:
    report = client.probe(
        IMAGE, eps="4/255", certify="true", sigma=0.02, certify_samples=200, deadline_ms=30_000
    )

    certificate = report["certificate"]
    assert (certificate["label"], certificate["finished"]) == ("red", True)
    assert (certificate["sigma"], certificate["n"], certificate["evaluations"]) == (0.02, 200, 300)
    assert 0 < certificate["radius_linf"] < certificate["radius"]


def test_every_class_has_its_own_distance(client: Client) -> None:
    report = client.probe(IMAGE, target="every", max_eps="0.5", deadline_ms=30_000)

    green, blue = report["classes"]
    assert (green["label"], blue["label"]) == ("green", "blue")
    assert green["flipped"] == report["minimal_eps"]["flipped"] == pytest.approx(FLIPS_AT, rel=0.05)
    # Blue has to overtake red, which starts 130 levels above it.
    assert blue["flipped"] == pytest.approx(65 / 255, rel=0.05)
    assert client.probe(IMAGE, eps="4/255", deadline_ms=30_000)["classes"] is None


def test_parameters_may_come_in_the_form(server: Server) -> None:
    parts = [("image", "a.png", IMAGE), ("eps", None, b"12/255"), ("target", None, b"blue")]

    report = ask(server.port, "POST", "/probe", *form(parts)).json

    assert report["goal"] == {"label": None, "target": "blue"}
    assert report["verdict"] == "held"
    assert report["threat"]["eps"] == pytest.approx(12 / 255)


def test_at_its_deadline_a_probe_answers_with_what_it_has(client: Client) -> None:
    report = client.probe(IMAGE, deadline_ms=1, steps=200, restarts=5, evidence="full")

    assert report["verdict"] == "inconclusive"
    assert report["budget"]["exhausted"] is True
    assert report["prediction"]["label"] == "red"


def test_two_images_are_one_too_many(server: Server) -> None:
    reply = ask(server.port, "POST", "/probe", *form([("image", "a", IMAGE), ("image", "b", IMAGE)]))

    assert reply.json["code"] == "too_many_images"


def test_a_report_says_which_class_was_to_be_lost(client: Client) -> None:
    asked = {"eps": "4/255", "steps": 5, "deadline_ms": 30_000}

    assert client.probe(IMAGE, label="green", **asked)["goal"] == {"label": "green", "target": None}
    assert client.probe(IMAGE, **asked)["goal"] == {"label": None, "target": None}


def test_a_class_of_another_model_is_refused(client: Client) -> None:
    with pytest.raises(ServerProblem) as caught:
        client.probe(IMAGE, label="cat")

    assert caught.value.code == "invalid_parameter"
    assert caught.value.body["parameter"] == "label"


def test_a_probe_of_too_much_work_is_refused_before_it_begins(client: Client) -> None:
    with pytest.raises(ServerProblem) as caught:
        client.probe(IMAGE, steps=200, restarts=20, evidence="full")

    assert (caught.value.status, caught.value.code) == (422, "invalid_parameter")
    assert caught.value.body["cost_limit"] == 25_000
    detail = caught.value.body["detail"]
    assert "lower " in detail and "restarts (20)" in detail and "steps (200)" in detail


def test_progress_is_streamed_and_ends_with_the_report(client: Client) -> None:
    events = list(client.probe_events(IMAGE, eps="4/255,12/255", deadline_ms=30_000))

    assert {event.name for event in events[:-1]} == {"progress"}
    assert events[-1].name == "result"
    assert events[-1].data["verdict"] == "flipped"
    done = [event.data["gradient_evaluations"] for event in events[:-1]]
    assert done == sorted(done)
    assert done[-1] <= events[0].data["bound"]


def test_a_problem_before_the_stream_is_an_ordinary_one(client: Client) -> None:
    with pytest.raises(ServerProblem) as caught:
        list(client.probe_events(IMAGE, eps="nan"))

    assert caught.value.code == "invalid_parameter"


def test_a_problem_within_the_stream_is_an_event(client: Client) -> None:
    events = list(client.probe_events(IMAGE[:40]))

    assert [event.name for event in events] == ["problem"]
    assert events[0].data["code"] == "image_broken"


def test_an_abandoned_probe_stops_and_frees_its_place(server: Server) -> None:
    request = (
        "POST /probe?eps=0.001&steps=200&restarts=20&deadline_ms=30000&evidence=full HTTP/1.1\r\n"
        "Host: localhost\r\n"
        f"Content-Type: image/png\r\nContent-Length: {len(IMAGE)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request + IMAGE)
        _wait_for_lane(server, 1.0)
    _wait_for_lane(server, 0.0)


def _wait_for_lane(server: Server, occupied: float) -> None:
    line = f'clead_lane_occupied{{lane="probe"}} {occupied}'
    deadline = time.monotonic() + 20
    while line not in ask(server.port, "GET", "/metrics").body.decode():
        assert time.monotonic() < deadline, f"the metrics never said {line}"


def test_a_full_lane_sheds_probes_and_leaves_classification_alone(server: Server) -> None:
    path = "/probe?eps=0.001&steps=200&restarts=20&deadline_ms=1500&evidence=full"
    replies = []

    def probe_once() -> None:
        replies.append(ask(server.port, "POST", path, IMAGE, "image/png"))

    threads = [threading.Thread(target=probe_once) for _ in range(12)]
    for thread in threads:
        thread.start()
    classified = server.client.classify(IMAGE)
    for thread in threads:
        thread.join()

    shed = [reply for reply in replies if reply.status == 503]
    assert classified.predictions[0].label == "red"
    assert {reply.status for reply in replies} <= {200, 503}
    assert 1 <= len(shed) <= 12 - 5
    assert all(json.loads(reply.body)["code"] == "overloaded" for reply in shed)
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in shed)
