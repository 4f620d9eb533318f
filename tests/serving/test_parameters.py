"""Parameters of /classify and /probe."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.bundle import Manifest, load_bundle
from probes.cost import most
from probes.request import ProbeRequest
from serving.parameters import classify_parameters
from serving.probing.parameters import (
    PROBE_PARAMETERS,
    collect_probe_parameters,
    probe_deadline_s,
    probe_request,
)
from serving.problems import Problem
from serving.settings import Settings

SETTINGS = Settings()


@pytest.fixture(scope="module")
def manifest(models_dir: Path) -> Manifest:
    return load_bundle(models_dir / "colors" / "1").manifest


def _probe(manifest: Manifest, **values: str) -> ProbeRequest:
    return probe_request(collect_probe_parameters(values.items(), ()), manifest, SETTINGS)


def test_without_parameters_the_probe_searches_in_the_norm_trained_for(manifest: Manifest) -> None:
    request = _probe(manifest)

    assert request.norm == "linf"
    assert request.eps is None
    assert request.max_eps == pytest.approx(0.25)
    assert probe_deadline_s({}, SETTINGS) == SETTINGS.probe_deadline_ms / 1000


def test_every_parameter_arrives(manifest: Manifest) -> None:
    request = _probe(
        manifest, norm="l2", eps="0.5, 1/4", steps="7", restarts="3", loss="margin", label="green",
        target="2", seed="11", evidence="full", include="difference,adversarial", certify="true",
        sigma="51/255", certify_samples="300",
    )  # fmt: skip

    assert (request.norm, request.eps, request.steps, request.restarts) == ("l2", (0.25, 0.5), 7, 3)
    assert (request.loss, request.label, request.target, request.seed) == ("margin", 1, 2, 11)
    assert (request.evidence, request.include) == ("full", frozenset({"adversarial", "difference"}))
    assert (request.certify, request.sigma, request.certify_samples) == (True, 0.2, 300)
    assert probe_deadline_s({"deadline_ms": "1500"}, SETTINGS) == 1.5


def test_every_is_each_class_unless_a_class_is_called_so(manifest: Manifest) -> None:
    request = _probe(manifest, target="every", label="green")
    assert (request.every_class, request.target) == (True, None)
    named = manifest.model_copy(update={"classes": ("red", "every", "blue")})
    request = _probe(named, target="every")
    assert (request.every_class, request.target) == (False, 1)


def test_each_norm_has_its_own_cap(manifest: Manifest) -> None:
    capped = Settings(probe_max_eps_linf=0.1, probe_max_eps_l2=1.5, probe_max_eps_l1=20.0)
    for norm, cap in (("linf", 0.1), ("l2", 1.5), ("l1", 20.0)):
        assert probe_request({"norm": norm, "eps": str(cap)}, manifest, capped).eps == (cap,)
        with pytest.raises(Problem, match=f"from 0 to {cap:g}"):
            probe_request({"norm": norm, "eps": str(1.01 * cap)}, manifest, capped)
    assert probe_request({"norm": "l1"}, manifest, capped).max_eps == 20.0


def test_eps_zero_is_the_plain_prediction(manifest: Manifest) -> None:
    assert _probe(manifest, eps="0").eps == (0.0,)


def test_the_search_never_passes_the_cap(manifest: Manifest) -> None:
    capped = Settings(probe_max_eps_linf=0.1)

    assert probe_request({}, manifest, capped).max_eps == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("eps", "-8/255", "from 0 to 0.5"),
        ("eps", "nan", "from 0 to 0.5"),
        ("eps", "inf", "from 0 to 0.5"),
        ("eps", "8", "from 0 to 0.5"),
        ("eps", "1/0", "from 0 to 0.5"),
        ("eps", "8/255/3", "from 0 to 0.5"),
        ("eps", "", "from 0 to 0.5"),
        ("eps", "0.1,,0.2", "from 0 to 0.5"),
        ("eps", ",".join(["0.1"] * 17), "at most 16"),
        ("eps", "9" * 100_000, "from 0 to 0.5"),
        ("eps", "0.03" + " " * 70 + "junk", "38 characters more; give numbers from 0 to 0.5"),
        ("eps", "1e-7", "0, or 1e-05 or more"),
        ("max_eps", "1e-7", "0, or 1e-05 or more"),
        ("max_eps", "0", "above 0"),
        ("max_eps", "0.9", "from 0 to 0.5"),
        ("norm", "l0", "linf, l2, l1"),
        ("loss", "hinge", "margin"),
        ("steps", "0", "from 1 to 200"),
        ("steps", "1e3", "from 1 to 200"),
        ("steps", "201", "from 1 to 200"),
        ("steps", "9" * 10_000, "from 1 to 200"),
        ("restarts", "-1", "from 1 to 20"),
        ("seed", "-1", "from 0"),
        ("label", "purple", "red, green, blue"),
        ("label", "3", "from 0 to 2"),
        ("target", "-1", "from 0 to 2"),
        ("evidence", "none", "quick, full"),
        ("include", "everything", "adversarial, difference"),
        ("certify", "yes", "true, false"),
    ],
)
def test_wrong_values_are_refused_with_what_is_accepted(
    manifest: Manifest, name: str, value: str, word: str
) -> None:
    with pytest.raises(Problem) as caught:
        _probe(manifest, **{name: value})

    assert caught.value.code == "invalid_parameter"
    assert caught.value.extensions["parameter"] == name
    assert word in caught.value.detail
    assert len(caught.value.detail) < 400


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("sigma", "0", "from 0.001 to 1"),
        ("sigma", "1.01", "from 0.001 to 1"),
        ("sigma", "nan", "from 0.001 to 1"),
        ("sigma", "a little", "from 0.001 to 1"),
        ("sigma", "0.1" + " " * 70 + "junk", "37 characters more; give a number from 0.001 to 1"),
        ("certify_samples", "9", "from 10 to 10000"),
        ("certify_samples", "10001", "from 10 to 10000"),
        ("certify_samples", "1e3", "from 10 to 10000"),
    ],
)
def test_wrong_values_of_a_certificate_are_refused_with_what_is_accepted(
    manifest: Manifest, name: str, value: str, word: str
) -> None:
    with pytest.raises(Problem, match=word) as caught:
        _probe(manifest, certify="true", **{name: value})

    assert caught.value.extensions["parameter"] == name


@pytest.mark.parametrize("name", ["sigma", "certify_samples"])
@pytest.mark.parametrize("certify", [{}, {"certify": "false"}])
def test_what_is_for_a_certificate_is_refused_without_one(
    manifest: Manifest, name: str, certify: dict[str, str]
) -> None:
    with pytest.raises(Problem, match="certify=true") as caught:
        _probe(manifest, **certify, **{name: "1"})

    assert caught.value.extensions["parameter"] == name


def test_the_samples_of_a_certificate_never_pass_the_cap(manifest: Manifest) -> None:
    capped = Settings(probe_max_certify_samples=200)

    assert probe_request({"certify": "true"}, manifest, capped).certify_samples == 200


@pytest.mark.parametrize("value", ["0", "30001", "soon"])
def test_a_deadline_outside_of_the_caps_is_refused(value: str) -> None:
    with pytest.raises(Problem, match="from 1 to 30000") as caught:
        probe_deadline_s({"deadline_ms": value}, SETTINGS)

    assert caught.value.extensions["parameter"] == "deadline_ms"


def test_the_work_of_a_probe_is_capped_at_its_bound(manifest: Manifest) -> None:
    values = {"eps": "0.1,0.2", "steps": "7", "restarts": "3", "evidence": "full"}
    bound = most(_probe(manifest, **values), classes=len(manifest.classes)).total

    enough = Settings(probe_max_gradient_evaluations=bound)
    assert probe_request(values, manifest, enough).steps == 7
    with pytest.raises(Problem) as caught:
        probe_request(values, manifest, Settings(probe_max_gradient_evaluations=bound - 1))

    assert caught.value.code == "invalid_parameter"
    assert caught.value.extensions["cost"] == bound
    assert caught.value.extensions["cost_limit"] == bound - 1
    for word in (
        str(bound),
        str(bound - 1),
        "steps (7)",
        "restarts (3)",
        "eps values (2)",
        "evidence (full)",
    ):
        assert word in caught.value.detail


@pytest.mark.parametrize(
    ("values", "dominant"),
    [
        ({"steps": "200"}, "steps"),
        ({"restarts": "20"}, "restarts"),
        ({"eps": ",".join(f"{number}/255" for number in range(1, 17)), "restarts": "1"}, "eps"),
        ({"evidence": "full", "restarts": "1", "steps": "1", "eps": "0.1"}, "evidence"),
        ({"certify": "true", "certify_samples": "10000"}, "certify_samples"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_costs_too_much_is_blamed_on_what_counts_most(
    manifest: Manifest, values: dict[str, str], dominant: str
) -> None:
    with pytest.raises(Problem, match="the first counts most") as caught:
        probe_request(values, manifest, Settings(probe_max_gradient_evaluations=100))

    assert caught.value.extensions["parameter"] == dominant
    assert "limit" not in caught.value.extensions
    first = caught.value.detail.partition("lower ")[2].partition(" or ")[0]
    assert first.startswith(f"the number of {dominant}" if dominant == "eps" else dominant)


def test_a_loss_that_the_model_has_too_few_classes_for_is_refused(manifest: Manifest) -> None:
    assert _probe(manifest, loss="dlr").loss == "dlr"
    with pytest.raises(Problem, match="needs 4 classes or more, and the model has 3") as caught:
        _probe(manifest, loss="dlr", target="blue")
    assert caught.value.extensions["parameter"] == "loss"
    two = manifest.model_copy(update={"classes": ("red", "green")})
    with pytest.raises(Problem, match="needs 3 classes or more, and the model has 2"):
        _probe(two, loss="dlr")


def test_parameters_that_exclude_each_other_are_refused(manifest: Manifest) -> None:
    for values in ({"eps": "0.1", "max_eps": "0.2"}, {"label": "red", "target": "0"}):
        with pytest.raises(Problem, match="give"):
            _probe(manifest, **values)


def test_unknown_and_repeated_parameters_are_refused() -> None:
    with pytest.raises(Problem, match=r"epsilon.*accepted are"):
        collect_probe_parameters([("epsilon", "0.1")], ())
    with pytest.raises(Problem, match="more than once"):
        collect_probe_parameters([("eps", "0.1")], [("eps", "0.2")])
    with pytest.raises(Problem, match="'tops'"):
        classify_parameters([("tops", "1")], ())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.sampled_from(PROBE_PARAMETERS), st.text(max_size=20)))
def test_any_text_is_understood_or_refused(manifest: Manifest, values: dict[str, str]) -> None:
    try:
        request = _probe(manifest, **values)
    except Problem as problem:
        assert problem.code == "invalid_parameter"
    else:
        assert 1 <= request.steps <= SETTINGS.probe_max_steps
