"""Every setting of the server, its type, its default and what it means; docs/settings.md is checked against
this.

A setting `name` is the environment variable `CLEAD_NAME`, or `name` in clead.toml; the environment wins.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from probes.threat import Norm
from serving.settings_names import check_names
from serving.settings_types import Count, HostNames, KeyEntries, Milliseconds, Optional_

PREFIX = "CLEAD_"
CONFIG_VARIABLE = "CLEAD_CONFIG"
CONFIG_FILE = "clead.toml"
PROJECT_ROOT = Path(__file__).resolve().parent.parent


class SettingsError(ValueError):
    """A setting is unknown or its value is not accepted. The message names the setting and the remedy."""


class Settings(BaseModel):
    """The settings of one server. Limits hold for the whole server, whatever the number of workers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    models_dir: Path = Field(
        default=PROJECT_ROOT / "models",
        description="Folder of model bundles, `<name>/<version>/`. Default: `models/` beside the code.",
    )
    default_model: Annotated[str | None, Optional_] = Field(
        default=None,
        description="`name` or `name/version` of the model that answers when a request names none. "
        "May be left out when the folder holds one model, or only one that was trained to withstand "
        "perturbations.",
    )
    max_loaded_models: Count = Field(
        default=4,
        description="Models in memory of a worker, and of a process that probes for it; the least recently "
        "used makes room, in a worker never the default.",
    )
    engine: Literal["auto", "cpu", "cuda", "tensorrt", "triton"] = Field(
        default="auto",
        description="What computes, by name, or `auto`: CUDA where it works and else the CPU, never TensorRT "
        "or Triton.",
    )
    engine_strict: bool = Field(
        default=False,
        description="Refuse to start when a slower engine than the one asked for would be used "
        "(with `auto`: the CPU although the machine shows an NVIDIA GPU).",
    )
    engine_threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="CPU threads of the engine in each worker; 0: cores / workers, of the cores that "
        "affinity and CPU quota leave.",
    )
    cuda_graphs: bool = Field(
        default=False,
        description="On CUDA, bind inputs and outputs and replay a CUDA graph for each batch size. It has "
        "not run on a GPU yet, and is off until it has.",
    )
    triton_url: Annotated[str | None, Optional_] = Field(
        default=None, description="`host:port` of Triton's gRPC endpoint; needed by the engine `triton`."
    )
    host: str = Field(default="127.0.0.1", description="IP address to listen on.")
    port: int = Field(default=3000, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(default=1, ge=1, le=256, description="Worker processes; each holds the models.")
    allow_public: bool = Field(
        default=False, description="Serve without keys on an address that other machines can reach."
    )
    allowed_hosts: HostNames = Field(
        default=(),
        description="Further names under which a server without keys is asked on loopback, comma separated, "
        "without a port: those of a proxy in front of it. Other names than `localhost` get 403.",
    )
    keys: KeyEntries = Field(
        default=(),
        description="An entry for each API key, comma separated (a list in clead.toml): its sha256 in "
        "hexadecimal, and what it may do. Without keys every request is served.",
    )
    keys_file: Annotated[Path | None, Optional_] = Field(
        default=None,
        description="File with one such entry a line; `#` begins a comment. Read again when it changes.",
    )
    max_body_bytes: Count = Field(default=16 * 1024 * 1024, description="Largest request body, in bytes.")
    max_pixels: int = Field(
        default=25_000_000,
        ge=1,
        le=89_000_000,
        description="Most pixels of an uploaded image (width x height).",
    )
    max_images: Count = Field(
        default=32, description="Most images in one request to `/classify` or of `/v2`."
    )
    body_deadline_ms: Milliseconds = Field(
        default=15_000, description="Time a client has to send its request body; then 408."
    )
    uploads: Count = Field(
        default=1024, description="Request bodies that may be on their way at the same time; more get 503."
    )
    upload_bytes: Count = Field(
        default=256 * 1024 * 1024,
        description="Memory for request bodies, in bytes, each from its arrival to the answer; more get 503.",
    )
    upload_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Largest part of both that one caller, a key or else a client's address, may take; never "
        "less than one largest body.",
    )
    classify_concurrency: int = Field(
        default=2,
        ge=1,
        description="Batches of classifications on their way at the same time; at least one a worker. On a "
        "CPU the next one grows until the engine's threads have cores to compute it.",
    )
    classify_queue: int = Field(default=256, ge=0, description="Classifications that may wait; more get 503.")
    classify_wait_ms: Milliseconds = Field(
        default=1_000,
        description="A classification that would wait longer, by what the latest ones took, gets 503 as "
        "well; never behind fewer than 64 others of its worker, or 16 with large images.",
    )
    classify_deadline_ms: Milliseconds = Field(
        default=10_000,
        description="Time for the answer of `/classify` or `/v2` once its body is there; then 504.",
    )
    probe: bool = Field(default=True, description="Whether `/probe` is offered.")
    probe_concurrency: int = Field(
        default=1, ge=1, description="Probes computed at the same time; at least one a worker."
    )
    probe_queue: int = Field(default=4, ge=0, description="Probes that may wait; more get 503.")
    probe_nice: int = Field(
        default=10, ge=0, le=19, description="How far probes stand behind classifications on the processor."
    )
    probe_deadline_ms: Milliseconds = Field(
        default=5_000,
        description="Deadline of a probe that asks for none; it answers with what it has by then.",
    )
    probe_max_deadline_ms: Milliseconds = Field(
        default=30_000, description="Longest deadline that a probe may ask for."
    )
    probe_max_steps: Count = Field(default=200, description="Most attack steps that a probe may ask for.")
    probe_max_restarts: Count = Field(default=20, description="Most restarts that a probe may ask for.")
    probe_max_eps_values: Count = Field(default=16, description="Most values of `eps` in one probe.")
    probe_max_eps_linf: float = Field(default=0.5, gt=0, le=1, description="Largest `eps` of l-inf probes.")
    probe_max_eps_l2: float = Field(default=20.0, gt=0, le=1e4, description="Largest `eps` of l2 probes.")
    probe_max_eps_l1: float = Field(default=500.0, gt=0, le=1e8, description="Largest `eps` of l1 probes.")
    probe_max_gradient_evaluations: Count = Field(
        default=25_000,
        description="Most that one probe may be able to cost, in gradient evaluations, three forward passes "
        "counted as one; one that could cost more gets 422. A plain search can cost about 1330, in l1 about "
        "2000.",
    )
    probe_max_certify_samples: int = Field(
        default=10_000,
        ge=10,
        description="Most samples, one forward pass each, that the certificate of a probe may ask for.",
    )
    drain_ms: int = Field(
        default=3000,
        ge=0,
        le=3_600_000,
        description="Time from the beginning of draining until new work is refused; with 0, `clead serve` "
        "passes SIGTERM on at once.",
    )
    drain_file: Annotated[Path | None, Optional_] = Field(
        default=None,
        description="File that makes the server drain once it exists. `clead serve` needs none to be named.",
    )
    access_log: bool = Field(
        default=True, description="One JSON line per request on standard error (not for health and metrics)."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            raise ValueError(
                f"host is {self.host!r}: give an IP address, such as 127.0.0.1 or 0.0.0.0"
            ) from None
        if self.engine == "triton" and self.triton_url is None:
            raise ValueError(
                "engine is triton, but triton_url is not set: give host:port of its gRPC endpoint"
            )
        if self.probe_deadline_ms > self.probe_max_deadline_ms:
            raise ValueError("probe_deadline_ms is larger than probe_max_deadline_ms")
        for name in ("uploads", "classify_concurrency", "probe_concurrency"):
            # A default grows with the workers; a chosen limit is never silently exceeded.
            if name in self.model_fields_set and getattr(self, name) < self.workers:
                raise ValueError(
                    f"{name} is smaller than workers ({self.workers}): each worker needs at least one"
                )
        if "upload_bytes" in self.model_fields_set and self.upload_bytes < self.workers * self.max_body_bytes:
            raise ValueError(
                f"upload_bytes is smaller than workers ({self.workers}) x max_body_bytes "
                f"({self.max_body_bytes}): each worker needs room for the largest body"
            )
        return self

    def per_worker(self, limit: int, *, at_least: int) -> int:
        """The share of a server-wide limit that one of the workers may use."""
        return max(at_least, limit // self.workers)

    def probe_max_eps(self, norm: Norm) -> float:
        """The largest `eps` of probes in this norm."""
        largest = {"linf": self.probe_max_eps_linf, "l2": self.probe_max_eps_l2, "l1": self.probe_max_eps_l1}
        return largest[norm]

    @property
    def longest_work_s(self) -> float:
        """Seconds in which all that a request was let in for is computed, or given up."""
        longest = self.classify_deadline_ms
        if self.probe:
            # It may begin as late as its deadline, because its model was being loaded, and then has it anew;
            # and its process has a grace.
            longest = max(longest, 2 * self.probe_max_deadline_ms + 10_000)
        return (self.body_deadline_ms + longest) / 1000

    @property
    def longest_request_s(self) -> int:
        """Seconds in which every request has been answered, with room for what is not computing."""
        return round(self.longest_work_s) + 60


def load_settings(environment: Mapping[str, str] | None = None, *, directory: Path | None = None) -> Settings:
    """Reads the settings: environment variables over the TOML file.

    Args:
        environment: variables; those of the process when None.
        directory: where `clead.toml` is looked for; the working directory when None, then the project's root.

    Raises:
        SettingsError: an unknown name, a value of the wrong type or out of range, or a file that cannot be
        read.
    """
    variables = os.environ if environment is None else environment
    values = _from_file(variables.get(CONFIG_VARIABLE), directory or Path.cwd())
    known = tuple(Settings.model_fields)
    given = {name: value for name, value in variables.items() if name.startswith(PREFIX)}
    check_names(
        given, {PREFIX + name.upper() for name in known}, source="the environment", error=SettingsError
    )
    for name in known:
        if (text := given.get(PREFIX + name.upper())) is not None:
            values[name] = text
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def _from_file(named: str | None, directory: Path) -> dict[str, Any]:
    candidates = [Path(named)] if named else [directory / CONFIG_FILE, PROJECT_ROOT / CONFIG_FILE]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        if named:
            raise SettingsError(f"{CONFIG_VARIABLE} names {named}, which is not a file")
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}") from None
    check_names(values, set(Settings.model_fields), source=str(path), error=SettingsError)
    for name in ("models_dir", "keys_file", "drain_file"):
        if isinstance(values.get(name), str) and values[name]:
            values[name] = path.resolve().parent / values[name]
    return values


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        name = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if not name:
            lines.append(message)
            continue
        field = str(problem["loc"][0])
        # The value of a key is a secret even when it is malformed.
        value = "" if field == "keys" else f", not {problem['input']!r}"
        lines.append(f"{PREFIX}{field.upper()} ({field} in {CONFIG_FILE}): {message}{value}")
    return "; ".join(lines)
