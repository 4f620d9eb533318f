"""The metrics that there are, and those that the documentation knows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from export.bundle import load_bundle
from serving.models.engine_start import start_engine
from serving.models.model import Model
from serving.observing.metrics import MULTIPROCESS_VARIABLE, Metrics, keep_to_this_server
from serving.settings import Settings
from serving.shared_folder import VARIABLE
from tests.serving.conftest import ROOT


def test_every_metric_is_documented() -> None:
    rows = {}
    for line in (ROOT / "docs" / "operations.md").read_text().splitlines():
        if line.startswith("| `clead_"):
            name, kind, labels, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            rows[name.strip("`")] = (
                kind,
                [label.strip(" `") for label in labels.split(",") if label],
                meaning,
            )

    # The label names are no public attribute of a family without values.
    families = {
        family.name: (family.type, list(metric._labelnames), family.documentation)
        for metric in vars(Metrics()).values()
        if hasattr(metric, "describe")
        for family in metric.describe()
    }
    assert rows == families


@pytest.mark.parametrize("several_processes", [False, True])
def test_models_that_are_gone_leave_no_series(
    models_dir: Path, tmp_path: Path, several_processes: bool
) -> None:
    """In a process of its own: where a metric is kept is decided when the library is imported."""
    environment = {key: value for key, value in os.environ.items() if key != MULTIPROCESS_VARIABLE}
    if several_processes:
        environment[MULTIPROCESS_VARIABLE] = str(tmp_path)
    program = (
        f"from tests.serving.test_metrics import models_come_and_go; models_come_and_go({str(models_dir)!r})"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)


def models_come_and_go(models_dir: str) -> None:
    """Shows and withdraws a model, and a refusal, and checks what is told of them."""
    metrics = Metrics()
    bundle = load_bundle(Path(models_dir) / "colors" / "1")
    engine = start_engine(bundle, Settings(engine="cpu"), with_gradient=False)
    model = Model(bundle=bundle, engine=engine, info=engine.describe())

    def shown() -> list[tuple[str, float]]:
        names = ("clead_model_info", "clead_engine_info", "clead_model_refused")
        families = text_string_to_metric_families(metrics.exposition().decode())
        told = [sample for family in families if family.name in names for sample in family.samples]
        return sorted((sample.name, sample.value) for sample in told)

    there = [("clead_engine_info", 1.0), ("clead_model_info", 1.0)]
    assert shown() == []
    metrics.show_models([model], refused=[])
    assert shown() == there
    metrics.show_models([], refused=["colors/2"])
    assert shown() == [("clead_model_refused", 1.0)]
    metrics.show_models([model], refused=[])
    assert shown() == there
    # What counts nothing yet is told all the same.
    metrics.keys_file_fault.set(False)
    assert b"clead_keys_file_fault 0.0" in metrics.exposition()


def test_servers_on_one_machine_do_not_share_their_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    folders = []
    for server in ("one", "another"):
        (tmp_path / server).mkdir()
        for _ in range(2):
            # As BentoML sets it for every worker of every server of a user.
            monkeypatch.setenv(MULTIPROCESS_VARIABLE, str(tmp_path / "everybody"))
            monkeypatch.setenv(VARIABLE, str(tmp_path / server))
            keep_to_this_server()
            folders.append(os.environ[MULTIPROCESS_VARIABLE])
    assert all(Path(folder).is_dir() for folder in folders)
    assert folders[0] == folders[1] != folders[2] == folders[3]


def test_a_process_that_is_no_worker_writes_no_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MULTIPROCESS_VARIABLE, raising=False)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    keep_to_this_server()
    assert MULTIPROCESS_VARIABLE not in os.environ
