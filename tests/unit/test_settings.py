from pathlib import Path

import pytest

from app.errors import SettingsError
from app.settings import Settings, environment_names, load_settings

ROOT = Path(__file__).parents[2]
#: Stands between what a setting is and its several names.
OTHER_NAMES = " (other names for the first: the ones below it)"
UNITS = ("_ms", "_seconds", "_bytes")


def example_lines() -> list[str]:
    return (ROOT / ".env.example").read_text().splitlines()


def test_the_example_environment_names_every_setting_once_and_in_order() -> None:
    named = [line.lstrip("# ").partition("=")[0] for line in example_lines() if "=" in line]
    assert named == environment_names()


def test_the_example_environment_says_of_a_setting_what_its_field_says() -> None:
    paragraphs = {
        " ".join(line.removeprefix("# ") for line in paragraph.splitlines() if "=" not in line)
        for paragraph in (ROOT / ".env.example").read_text().split("\n\n")
    }
    told = {paragraph.removesuffix(OTHER_NAMES) for paragraph in paragraphs}
    assert {field.description for field in Settings.model_fields.values()} <= told


def test_the_example_environment_is_valid_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in example_lines():
        name, found, value = line.partition("=")
        if found and not line.startswith("#"):
            monkeypatch.setenv(name, value)
    assert load_settings().database_url.get_secret_value().startswith("postgresql://")


def test_every_problem_is_named_in_one_line_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://root:hunter2@db")
    monkeypatch.setenv("WORKER_PROVIDER_TIMEOUT_MS", "soon")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    message = str(refused.value)
    assert "DATABASE_URL" in message
    assert "WORKER_PROVIDER_TIMEOUT_MS" in message
    assert "hunter2" not in message
    assert "\n" not in message


def test_a_missing_database_url_is_said() -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL is not set"):
        load_settings()


def test_secrets_are_masked_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://worker:hunter2@db/postgres")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    printed = repr(load_settings())
    assert "hunter2" not in printed
    assert "sk-planted" not in printed


@pytest.mark.parametrize("name", ["GOOGLE_AI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_googles_key_goes_by_any_of_its_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db")
    monkeypatch.setenv(name, "planted")
    assert load_settings().google_api_key.get_secret_value() == "planted"


def test_numbers_with_a_unit_say_so_in_their_field() -> None:
    fields = type(load_settings(DATABASE_URL="postgresql://db")).model_fields
    numbers = {name for name, field in fields.items() if field.annotation in {int, float}}
    timeouts = {name for name in numbers if "timeout" in name}
    assert len(timeouts) > 3
    assert [name for name in timeouts if not name.endswith(UNITS)] == []
