"""The metrics that there are, and those that the documentation knows."""

from __future__ import annotations

from pathlib import Path

from export.bundle import load_bundle
from serving.engine_start import start_engine
from serving.metrics import Metrics
from serving.models import Model
from serving.settings import Settings
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
