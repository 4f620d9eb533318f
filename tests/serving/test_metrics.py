"""The metrics that there are, and those that the documentation knows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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


def test_a_model_that_was_released_and_one_that_is_not_refused_any_more_count_as_0(models_dir: Path) -> None:
    metrics = Metrics()
    bundle = load_bundle(models_dir / "colors" / "1")
    engine = start_engine(bundle, Settings(engine="cpu"), with_gradient=False)
    model = Model(bundle=bundle, engine=engine, info=engine.describe())

    def shown() -> tuple[float | None, ...]:
        value = metrics.registry.get_sample_value
        return value("clead_model_info", model.identity), value("clead_model_refused", {"model": "colors/2"})

    metrics.show_models([model], refused=[])
    assert shown() == (1.0, None)
    metrics.show_models([], refused=["colors/2"])
    assert shown() == (0.0, 1.0)
    metrics.show_models([model], refused=[])
    assert shown() == (1.0, 0.0)


def test_servers_on_one_machine_do_not_share_their_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
