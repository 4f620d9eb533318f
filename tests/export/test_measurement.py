"""What an evaluation's JSON brings into a manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.bundle import BundleError, ThreatSpec
from export.measurement import read_measurement
from tests.export.test_manifest import CURVE

FIGURE = {"name": "fgsm", "accuracy": 0.3, "n": 500, "norm": "l2", "eps": 0.5, "interval95": [0.1, 0.5]}
EVALUATION = {
    "subject": "mine/1",
    "weights_sha256": "0" * 64,
    "dataset": "cifar10",
    "n": 500,
    "seed": 7,
    "figures": [
        {"name": "clean", "accuracy": 0.6, "n": 500, "norm": None, "eps": None},
        FIGURE,
        FIGURE | {"name": "autoattack"},
    ],
    "gates": [{"name": "enough_images", "passed": False, "detail": "500 images"}],
}


def _file(folder: Path, content: object) -> Path:
    path = folder / "evaluation.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_the_command_measures_the_same_again(tmp_path: Path) -> None:
    assert read_measurement(_file(tmp_path, EVALUATION)).command("mine") == (
        "clead evaluate mine --data-dir DIR --n 500 --seed 7 --attacks fgsm,autoattack --norm l2 --eps 0.5"
    )


def test_the_worst_case_is_kept_beside_the_figures(tmp_path: Path) -> None:
    worst = FIGURE | {"name": "worst-case", "accuracy": 0.25}
    transfer = FIGURE | {"name": "transfer", "accuracy": 0.5}
    content = EVALUATION | {"figures": [*EVALUATION["figures"], transfer], "worst_case": worst}

    measurement = read_measurement(_file(tmp_path, content))

    assert [metric.name for metric in measurement.metrics] == [
        "clean",
        "fgsm",
        "autoattack",
        "transfer",
        "worst-case",
    ]
    # What made the worst case is named already; the other model has to be given again.
    assert "worst-case" not in measurement.command("mine")
    assert "--transfer-from OTHER" in measurement.command("mine")


def test_without_attacks_there_is_a_command_too(tmp_path: Path) -> None:
    clean = EVALUATION | {"figures": EVALUATION["figures"][:1]}
    assert read_measurement(_file(tmp_path, clean)).command("mine").endswith("--n 500 --seed 7 --attacks ''")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({}, "weights_sha256"),
        (["figures"], "it: "),
        (EVALUATION | {"figures": 3}, "figures"),
        (EVALUATION | {"figures": []}, "figures"),
        (EVALUATION | {"gates": []}, "gates"),
        (EVALUATION | {"figures": [{"name": "clean"}]}, r"figures\.0\.accuracy"),
        (EVALUATION | {"figures": [FIGURE | {"accuracy": 1.2}]}, r"figures\.0\.accuracy"),
        (EVALUATION | {"figures": [FIGURE | {"eps": None}]}, "norm and eps go together"),
    ],
)
def test_what_is_no_evaluation_is_refused(tmp_path: Path, content: object, field: str) -> None:
    with pytest.raises(
        BundleError, match=rf"evaluation\.json is not an evaluation .*{field}.*clead evaluate"
    ):
        read_measurement(_file(tmp_path, content))


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_bytes(b"\xff{")
    with pytest.raises(BundleError, match="is not an evaluation"):
        read_measurement(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights_sha256": "1" * 64}, "measured other weights: those of sha256 000000000000"),
        ({"dataset": "cifar100"}, "made on cifar10, but the model is one of cifar100"),
        (
            {"threat": ThreatSpec(norm="l2", eps=0.6)},
            "fgsm was measured at l2 eps 0.5, .*those at l2 eps 0.6",
        ),
        ({"threat": ThreatSpec(norm="linf", eps=0.5)}, "measured at l2 eps 0.5, .*those at linf eps 0.5"),
    ],
)
def test_figures_belong_to_weights_data_and_threat(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    measurement = read_measurement(_file(tmp_path, EVALUATION))
    subject = {"weights_sha256": "0" * 64, "dataset": "cifar10", "threat": ThreatSpec(norm="l2", eps=0.5)}
    measurement.check_subject(**subject)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match=message):
        measurement.check_subject(**{**subject, **change})  # type: ignore[arg-type]


def test_the_curve_is_kept_without_its_intervals(tmp_path: Path) -> None:
    interval = {"attacked_interval95": [0.1, 0.3], "noise_interval95": [0.7, 0.9]}
    points = [point | interval for point in CURVE["points"]]
    measurement = read_measurement(_file(tmp_path, EVALUATION | {"curve": CURVE | {"points": points}}))

    assert measurement.curve is not None
    assert measurement.curve.model_dump(mode="json") == CURVE
    assert measurement.command("mine").endswith(" --curve curve.png")
    assert read_measurement(_file(tmp_path, EVALUATION | {"curve": None})).curve is None
