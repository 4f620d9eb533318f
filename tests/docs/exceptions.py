"""The commands in the documentation that are not run just as they are printed, each with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tests.docs import checks
from tests.docs.markdown import ROOT

Replacements = tuple[tuple[str, str], ...]

_COMPACT = " --set optimiser.epochs=1 --set optimiser.batch_size=8 --set data.holdout=10"
_COMPACT += " --set selection.steps=1 --set 'network.options={widths=[8],blocks=[1]}'"
_PHOTOS = _COMPACT + " --set network.name=compact_resnet --set data.size=32 --set attack.steps=1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Smaller:
    """It is run with this replaced, each of which has to occur in it."""

    because: str
    replace: Replacements


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """It is not run; `check` raises if something about it is wrong."""

    because: str
    check: Callable[[str], None]


TRAINING = "trains for hours"
SECOND_SERVER = "would be a second server, whose start takes long; the tests of serving start it like this"
GIGABYTES = "installs gigabytes, or fetches from the network"
CLUSTER = "needs a Kubernetes cluster"

SMALLER: Mapping[str, Smaller] = MappingProxyType(
    {
        "clead train clead-photos-resnet18 --data-dir photos --out runs/mine": Smaller(
            because=TRAINING, replace=(("--out runs/mine", "--out runs/mine" + _PHOTOS),)
        ),
        "clead train clead-photos-resnet18 --data-dir photos --out runs/mine --resume": Smaller(
            because="goes on with the run above", replace=(("--resume", "--resume" + _PHOTOS),)
        ),
        "clead train clead-photos-resnet18 --data-dir photos --out runs/trial "
        "--set data.size=64 --set data.limit=400 --set optimiser.epochs=1": Smaller(
            because=TRAINING,
            replace=(
                ("data.limit=400", "data.limit=20"),
                ("optimiser.epochs=1", "optimiser.epochs=1" + _PHOTOS.replace(" --set data.size=32", "")),
            ),
        ),
        "clead train clead-cifar10-compact --data-dir DIR --out runs/compact": Smaller(
            because=TRAINING, replace=(("runs/compact", "runs/compact" + _COMPACT),)
        ),
        "clead evaluate clead-cifar10 --data-dir DIR --n 1000 --seed 0 "
        "--attacks noise,fgsm,pgd-50-10,autoattack --norm linf --eps 0.03137254901960784 "
        "--curve curve.png": Smaller(
            because="attacks for hours",
            replace=(("--n 1000", "--n 2"), ("pgd-50-10,autoattack", "apgd-ce")),
        ),
        "clead evaluate runs/compact --data-dir DIR --n 1000 --json compact.json": Smaller(
            because="attacks for long", replace=(("--n 1000", "--n 2 --attacks fgsm"),)
        ),
        "clead evaluate runs/mine --data-dir photos --json mine.json": Smaller(
            because="attacks for long", replace=(("--json", "--attacks noise,fgsm --json"),)
        ),
        'touch "$CLEAD_DRAIN_FILE" && sleep 15': Smaller(
            because="a test need not wait", replace=(("sleep 15", "sleep 0"),)
        ),
    }
)

NOT_RUN: Mapping[str, NotRun] = MappingProxyType(
    {
        "make test": NotRun(because="runs this test", check=checks.make_knows_the_target),
        "clead serve --model mine": NotRun(because=SECOND_SERVER, check=checks.clead_accepts),
        "CLEAD_KEYS_FILE=keys clead serve": NotRun(because=SECOND_SERVER, check=checks.clead_accepts),
        "CLEAD_CUDA_GRAPHS=1 clead serve": NotRun(because=SECOND_SERVER, check=checks.clead_accepts),
        "clead tensorrt clead-cifar10": NotRun(because="needs a GPU", check=checks.clead_accepts),
        "CLEAD_ENGINE=tensorrt clead serve": NotRun(because="needs a GPU", check=checks.clead_accepts),
        "CLEAD_ENGINE=triton CLEAD_TRITON_URL=localhost:8001 clead serve": NotRun(
            because="needs a Triton server", check=checks.clead_accepts
        ),
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 clead serve": NotRun(
            because=SECOND_SERVER, check=checks.clead_accepts
        ),
        "pip install opentelemetry-exporter-otlp-proto-http": NotRun(
            because=GIGABYTES, check=checks.package_exists
        ),
        "tritonserver --model-repository=repository --rate-limit=execution_count": NotRun(
            because="needs a Triton server", check=checks.triton_is_started_like_in_its_tests
        ),
        "tests/engines/prepare-triton.sh python3.11 /tmp/triton": NotRun(
            because=GIGABYTES, check=checks.script_and_tests_exist
        ),
        "CLEAD_TRITON=/tmp/triton python -m pytest tests/engines/test_real_triton.py": NotRun(
            because="needs a Triton server", check=checks.script_and_tests_exist
        ),
        ".venv/test/bin/torchrun --nproc-per-node=4 .venv/test/bin/clead "
        "train pgd-at-cifar10-resnet18 --data-dir DIR": NotRun(
            because="needs four GPUs", check=checks.torchrun_runs_what_clead_accepts
        ),
        ".venv/test/bin/python -m benchmarks.agreement --data-dir DIR": NotRun(
            because="attacks for hours", check=checks.benchmark_has_the_options
        ),
        ".venv/test/bin/python -m benchmarks.methods --data-dir DIR": NotRun(
            because="trains for days", check=checks.benchmark_has_the_options
        ),
        ".venv/test/bin/python -m benchmarks.training_speed --data-dir DIR "
        "--json benchmarks/training_speed/results/NAME.json": NotRun(
            because="trains for hours", check=checks.benchmark_has_the_options
        ),
        ".venv/test/bin/python -m benchmarks.probe_speed --data-dir DIR "
        "--json benchmarks/probe_speed/results/NAME.json": NotRun(
            because="attacks for many minutes", check=checks.benchmark_has_the_options
        ),
        ".venv/test/bin/python -m benchmarks.faults IMAGE.png --fuzz 20 "
        "--json benchmarks/faults/results.json": NotRun(
            because="does harm to servers for minutes", check=checks.benchmark_has_the_options
        ),
        ".venv/test/bin/python -m benchmarks.faults --page": NotRun(
            because="tests/benchmarks/test_faults.py writes the page", check=checks.benchmark_has_the_options
        ),
        **{
            f".venv/test/bin/python -m benchmarks.{name} IMAGE.png --model {file.stem} "
            f"--json benchmarks/{name}/results/{file.name}": NotRun(
                because="loads servers for minutes", check=checks.benchmark_has_the_options
            )
            for name in ("serving_load", "overload")
            for file in (ROOT / "benchmarks" / name / "results").glob("*.json")
        },
        "bentoml build": NotRun(
            because="copies all of the checkout; tests/serving/test_bento.py runs it",
            check=checks.bento_is_described,
        ),
        "bentoml build -f bentofile.cpu.yaml": NotRun(because="as above", check=checks.bento_is_described),
        "bentoml containerize clead_serve:latest -t clead-serve:1": NotRun(
            because="needs Docker", check=checks.bento_has_the_name
        ),
        "kubectl create secret generic clead-keys --from-file=keys": NotRun(
            because=CLUSTER, check=checks.secret_is_the_one_that_pods_mount
        ),
        "kubectl apply -k deploy/kubernetes": NotRun(because=CLUSTER, check=checks.kustomization_is_whole),
        "kubectl apply -f deploy/kserve": NotRun(because=CLUSTER, check=checks.manifests_can_be_read),
    }
)
