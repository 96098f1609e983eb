"""What the commands make of their options and environment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.dev import choose_environment
from app.cli.enqueue.lens_runs import parse_inputs
from app.errors import SettingsError

DSN = "postgresql://postgres:pw@127.0.0.1:5432/postgres"


def test_without_any_key_every_model_is_echoed() -> None:
    assert choose_environment(DSN) == {"DATABASE_URL": DSN, "ECHO_PROVIDER": "1"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "sk-mine"),
        ("GEMINI_API_KEY", "mine"),
        ("ECHO_PROVIDER", "0"),
        ("ECHO_PROVIDER", "1"),
    ],
)
def test_a_key_or_an_explicit_choice_is_respected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert choose_environment(DSN) == {"DATABASE_URL": DSN}


def test_a_blank_key_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "  ")
    assert choose_environment(DSN)["ECHO_PROVIDER"] == "1"


LABELS = st.text(min_size=1).filter(lambda label: "=" not in label)


@given(st.dictionaries(LABELS, st.text()))
def test_inputs_are_split_at_the_first_equals_sign(inputs: dict[str, str]) -> None:
    pairs = [f"{label}={value}" for label, value in inputs.items()]
    assert dict(parse_inputs(pairs)) == inputs


@pytest.mark.parametrize("pair", ["", "label", "=value"])
def test_an_input_without_label_or_equals_sign_is_refused(pair: str) -> None:
    with pytest.raises(SettingsError, match="LABEL=VALUE"):
        list(parse_inputs([pair]))
