"""Reading the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.access.access import is_public
from serving.settings import PREFIX, Settings, SettingsError, load_settings

ROOT = Path(__file__).resolve().parents[2]


def _load(directory: Path, /, **variables: str) -> Settings:
    return load_settings(variables, directory=directory)


def _toml(directory: Path, text: str) -> None:
    (directory / "clead.toml").write_text(text)


def test_defaults_are_private(tmp_path: Path) -> None:
    settings = _load(tmp_path)

    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 3000, 1)
    assert not is_public(settings.host)
    assert not settings.allow_public


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    _toml(tmp_path, 'port = 4000\nworkers = 3\nkeys = ["' + "a" * 64 + '"]\n')

    settings = _load(tmp_path, CLEAD_PORT="5000")

    assert (settings.port, settings.workers, settings.keys) == (5000, 3, ("a" * 64,))


def test_the_file_may_lie_elsewhere_and_its_paths_start_there(tmp_path: Path) -> None:
    _toml(tmp_path, 'models_dir = "bundles"\n')

    settings = _load(Path("/"), CLEAD_CONFIG=str(tmp_path / "clead.toml"))

    assert settings.models_dir == tmp_path / "bundles"


@pytest.mark.parametrize(
    ("variables", "text", "words"),
    [
        ({"CLEAD_PROT": "1"}, "", ["CLEAD_PROT", "did you mean CLEAD_PORT"]),
        ({}, "prot = 1", ["clead.toml", "prot", "did you mean port"]),
        ({"CLEAD_PORT": "seventy"}, "", ["CLEAD_PORT", "'seventy'"]),
        ({"CLEAD_PORT": "70000"}, "", ["CLEAD_PORT", "65535"]),
        ({"CLEAD_HOST": "localhost"}, "", ["host", "IP address"]),
        ({"CLEAD_ALLOWED_HOSTS": "http://a.example"}, "", ["CLEAD_ALLOWED_HOSTS", "'http://a.example'"]),
        (
            {},
            'allowed_hosts = ["a.example:80"]',
            ["allowed_hosts", "'a.example:80'", "without scheme and port"],
        ),
        ({"CLEAD_ALLOWED_HOSTS": "10.0.0.5:3000"}, "", ["CLEAD_ALLOWED_HOSTS", "'10.0.0.5:3000'", "port"]),
        ({"CLEAD_ALLOWED_HOSTS": "cafe:3000"}, "", ["CLEAD_ALLOWED_HOSTS", "'cafe:3000'"]),
        ({"CLEAD_ALLOWED_HOSTS": "..."}, "", ["CLEAD_ALLOWED_HOSTS", "'...'"]),
        ({"CLEAD_ENGINE": "tpu"}, "", ["CLEAD_ENGINE", "'auto'", "'triton'"]),
        ({"CLEAD_ENGINE": "triton"}, "", ["triton_url"]),
        ({"CLEAD_PROBE_DEADLINE_MS": "60000"}, "", ["probe_max_deadline_ms"]),
        ({"CLEAD_WORKERS": "4", "CLEAD_PROBE_CONCURRENCY": "2"}, "", ["probe_concurrency", "workers (4)"]),
        ({"CLEAD_MAX_PIXELS": "90000000"}, "", ["CLEAD_MAX_PIXELS", "89000000"]),
        ({"CLEAD_PROBE_MAX_EPS_LINF": "nan"}, "", ["CLEAD_PROBE_MAX_EPS_LINF", "finite"]),
        ({"CLEAD_CONFIG": "/nowhere.toml"}, "", ["CLEAD_CONFIG", "/nowhere.toml"]),
        ({}, "port = = 3", ["clead.toml", "TOML"]),
    ],
)
def test_what_is_wrong_is_refused_by_name(
    tmp_path: Path, variables: dict[str, str], text: str, words: list[str]
) -> None:
    _toml(tmp_path, text)

    with pytest.raises(SettingsError) as caught:
        load_settings(variables, directory=tmp_path)

    assert [word for word in words if word not in str(caught.value)] == []


def test_a_malformed_key_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(tmp_path, CLEAD_KEYS="my-secret-key")

    assert "CLEAD_KEYS" in str(caught.value)
    assert "my-secret-key" not in str(caught.value)


def test_keys_are_entries_and_a_wrong_one_is_said_by_number(tmp_path: Path) -> None:
    first, second = "a" * 64 + " name=a scope=classify", "b" * 64

    assert _load(tmp_path, CLEAD_KEYS=f"{first}, {second}").keys == (first, second)
    with pytest.raises(SettingsError, match="key 2: a scope is not known"):
        _load(tmp_path, CLEAD_KEYS=f"{first},{second} scope=all")
    with pytest.raises(SettingsError, match="two keys are named 'a'"):
        _load(tmp_path, CLEAD_KEYS=f"{first},{second} name=a")


def test_host_names_are_kept_as_browsers_send_them(tmp_path: Path) -> None:
    assert _load(tmp_path, CLEAD_ALLOWED_HOSTS="").allowed_hosts == ()
    assert _load(tmp_path, CLEAD_ALLOWED_HOSTS="A.example, FD00:0::1, b., 10.0.0.5").allowed_hosts == (
        "a.example",
        "fd00::1",
        "b",
        "10.0.0.5",
    )


def test_variables_of_the_tests_are_no_settings(tmp_path: Path) -> None:
    folders = dict.fromkeys(("CLEAD_DATA_DIR", "CLEAD_UPLOADS_DIR", "CLEAD_TRITON"), "x")
    assert _load(tmp_path, **folders) == _load(tmp_path)


def test_limits_are_shared_by_the_workers(tmp_path: Path) -> None:
    settings = _load(tmp_path, CLEAD_WORKERS="4", CLEAD_CLASSIFY_QUEUE="64", CLEAD_PROBE_QUEUE="2")

    assert settings.per_worker(settings.classify_queue, at_least=0) == 16
    assert settings.per_worker(settings.probe_queue, at_least=0) == 0
    assert settings.per_worker(settings.probe_concurrency, at_least=1) == 1


def test_bentoml_waits_longer_than_every_deadline(tmp_path: Path) -> None:
    settings = _load(tmp_path, CLEAD_BODY_DEADLINE_MS="20000", CLEAD_PROBE_MAX_DEADLINE_MS="600000")

    assert settings.longest_request_s > 20 + 2 * (600 + 10)


@pytest.mark.parametrize(("probe", "longest_s"), [("1", 20 + 2 * 600 + 10), ("0", 20 + 10)])
def test_a_server_that_stops_has_time_for_all_that_it_let_in(
    tmp_path: Path, probe: str, longest_s: int
) -> None:
    settings = _load(
        tmp_path,
        CLEAD_BODY_DEADLINE_MS="20000",
        CLEAD_PROBE_MAX_DEADLINE_MS="600000",
        CLEAD_PROBE=probe,
    )

    assert settings.longest_work_s == longest_s


def test_every_setting_is_documented_with_its_default() -> None:
    rows = {
        line.split("|")[1].strip(" `"): line
        for line in (ROOT / "docs" / "settings.md").read_text().splitlines()
        if line.startswith("| `CLEAD_")
    }

    assert set(rows) == {PREFIX + name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        assert str(field.description) in rows[PREFIX + name.upper()]
        if name != "models_dir":
            assert _default(field.default) in rows[PREFIX + name.upper()]


def _default(value: object) -> str:
    if value is None or value == ():
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
