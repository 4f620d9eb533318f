"""`clead doctor`."""

from __future__ import annotations

import json

from engines.doctor import diagnose
from tests.cli.conftest import Clead


def test_json_holds_the_whole_diagnosis(clead: Clead) -> None:
    result = clead("doctor", "--json")

    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["chosen"] == diagnose().chosen
    assert [engine["engine"] for engine in answer["engines"]] == ["tensorrt", "cuda", "cpu"]
    assert all((engine["reason"] is None) or engine["reason"] for engine in answer["engines"])


def test_people_read_what_would_run_and_why_nothing_faster(clead: Clead) -> None:
    result = clead("doctor")
    diagnosis = diagnose()

    assert result.exit_code == 0, result.output
    assert f"Engine `auto` takes: {diagnosis.chosen}" in result.output
    assert f"ONNX Runtime {diagnosis.onnxruntime}" in result.output
    for engine in diagnosis.engines:
        assert engine.engine in result.output
        assert engine.reason is None or engine.reason.split()[0] in result.output
