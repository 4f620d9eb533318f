"""The Kubernetes manifests: valid, consistent with each other, and with settings and metrics that exist."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from serving.observing.metrics import Metrics
from serving.settings import Settings, load_settings
from serving.stopping import TAKE_S
from serving.uploads.image_cost import BYTES_PER_PIXEL, HEAVY_PIXELS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
VERSIONS = ("1.30", "1.37")
"""The oldest and the newest known."""
PROCESS_MIB = 120
"""As docs/deploy.md has it: of each process, with one model."""
BODIES_MIB = 256
"""All bodies of a server that are being received or wait."""


def _documents(folder: str) -> list[dict[str, Any]]:
    files = sorted((DEPLOY / folder).glob("*.yaml"))
    assert files
    return [one for file in files for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


KUBERNETES = [one for one in _documents("kubernetes") if one["kind"] != "Kustomization"]
KSERVE = {one["kind"]: one for one in _documents("kserve")}


def _of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in KUBERNETES if one["kind"] == kind}


def _container(workload: Mapping[str, Any]) -> dict[str, Any]:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(container)


CONTAINERS = {name: _container(one) for name, one in _of_kind("Deployment").items()} | {
    "kserve": KSERVE["ClusterServingRuntime"]["spec"]["containers"][0]
}


def _settings(container: Mapping[str, Any], folder: Path) -> Settings:
    """What the server of a container would read; no key is at hand here."""
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    variables.pop("CLEAD_KEYS_FILE", None)
    return load_settings(variables, directory=folder)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", KUBERNETES, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_each_is_what_kubernetes_accepts(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_notices_a_misspelt_field() -> None:
    wrong = {**KUBERNETES[0], "spec": {**KUBERNETES[0]["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_everything_belongs_together() -> None:
    deployments, services = _of_kind("Deployment"), _of_kind("Service")
    assert deployments.keys() == services.keys() == {"clead-classify", "clead-probe"}
    for name, deployment in deployments.items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert services[name]["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels
        assert _of_kind("PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"] == labels
        assert _of_kind("HorizontalPodAutoscaler")[name]["spec"]["scaleTargetRef"]["name"] == name
        (port,) = services[name]["spec"]["ports"]
        assert port["targetPort"] in {port["name"] for port in _container(deployment)["ports"]}
    (ingress,) = _of_kind("Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    backends = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    assert backends == {"/probe": "clead-probe", "/ui": "clead-probe", "/": "clead-classify"}


def test_only_the_deployment_for_probes_probes(tmp_path: Path) -> None:
    probing = {
        name: _settings(_container(deployment), tmp_path).probe
        for name, deployment in _of_kind("Deployment").items()
    }
    assert probing == {"clead-classify": False, "clead-probe": True}


@pytest.mark.parametrize("name", ["clead-classify", "clead-probe"])
def test_a_pod_has_time_to_finish(name: str, tmp_path: Path) -> None:
    pod = _of_kind("Deployment")[name]["spec"]["template"]["spec"]
    container = _container(_of_kind("Deployment")[name])
    settings = _settings(container, tmp_path)
    assert settings.drain_file is not None
    hook = container["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert hook == f'touch "$CLEAD_DRAIN_FILE" && sleep {settings.drain_ms // 1000}'
    assert pod["terminationGracePeriodSeconds"] >= settings.drain_ms / 1000 + settings.longest_work_s + TAKE_S


def _mebibytes(text: str) -> int:
    return int(text[:-2]) * {"Mi": 1, "Gi": 1024}[text[-2:]]


@pytest.mark.parametrize("name", CONTAINERS)
def test_memory_suffices_for_the_largest_uploads_at_once(name: str, tmp_path: Path) -> None:
    settings, resources = _settings(CONTAINERS[name], tmp_path), CONTAINERS[name]["resources"]
    processes = 1 + settings.workers + (settings.probe_concurrency if settings.probe else 0)
    threads = settings.per_worker(settings.classify_concurrency, at_least=1)
    heavy = settings.max_pixels * BYTES_PER_PIXEL / 2**20
    light = HEAVY_PIXELS * BYTES_PER_PIXEL / 2**20
    decoding = (processes - 1) * heavy + settings.workers * (threads - 1) * light
    needed = processes * PROCESS_MIB + BODIES_MIB + decoding
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert _mebibytes(resources["limits"]["memory"]) >= needed
    page = (DEPLOY.parent / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert f"{BYTES_PER_PIXEL} bytes for each pixel" in page and f"{PROCESS_MIB} MiB for each process" in page


@pytest.mark.parametrize("name", CONTAINERS)
def test_engines_have_no_more_threads_than_the_pod_asks_for_cores(name: str, tmp_path: Path) -> None:
    settings = _settings(CONTAINERS[name], tmp_path)
    computing = max(settings.workers, settings.probe_concurrency if settings.probe else 0)
    assert settings.engine_threads >= 1
    assert settings.engine_threads * computing <= int(CONTAINERS[name]["resources"]["requests"]["cpu"])


@pytest.mark.parametrize("name", CONTAINERS)
def test_no_container_runs_as_root(name: str) -> None:
    pods = {name: one["spec"]["template"]["spec"] for name, one in _of_kind("Deployment").items()}
    context = (pods.get(name) or CONTAINERS[name])["securityContext"]
    assert context["runAsNonRoot"] and context["runAsUser"] > 0
    assert CONTAINERS[name]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_nobody_is_told_to_scrape_without_a_key() -> None:
    for deployment in _of_kind("Deployment").values():
        annotations = deployment["spec"]["template"]["metadata"].get("annotations", {})
        assert not any(name.startswith("prometheus.io/") for name in annotations)


def test_the_autoscalers_ask_for_metrics_that_exist() -> None:
    metrics = {family.name for family in Metrics().registry.collect()}
    for name, scaler in _of_kind("HorizontalPodAutoscaler").items():
        (metric,) = scaler["spec"]["metrics"]
        assert metric["pods"]["metric"]["name"] in metrics
        assert metric["pods"]["metric"]["selector"]["matchLabels"] == {"lane": name.removeprefix("clead-")}


def test_the_kserve_runtime_is_a_pod_that_serves_what_the_model_asks_for(tmp_path: Path) -> None:
    runtime, model = KSERVE["ClusterServingRuntime"], KSERVE["InferenceService"]
    (container,) = runtime["spec"]["containers"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {"containers": [container]},
    }
    kubernetes_validate.validate(pod, VERSIONS[0], strict=True)
    settings = _settings(container, tmp_path)
    assert [port["containerPort"] for port in container["ports"]] == [settings.port]
    assert settings.host == "0.0.0.0" and settings.allow_public
    asked = model["spec"]["predictor"]["model"]
    assert asked["runtime"] == runtime["metadata"]["name"]
    assert asked["protocolVersion"] in runtime["spec"]["protocolVersions"]
    (known,) = runtime["spec"]["supportedModelFormats"]
    assert asked["modelFormat"].items() <= known.items()
