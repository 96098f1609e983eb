"""The parameters a template declares, and whether the inputs satisfy them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from app.errors import GiveUp


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter of a lens version; `id` is its uuid as text, in lower case."""

    id: str
    label: str
    required: bool


def check_inputs(inputs: Mapping[str, JsonValue], parameters: Sequence[Parameter]) -> None:
    """Raise `GiveUp` that names every required parameter without a value.

    Null and text of nothing but spaces count as missing, as in `lenses.fn_render_template`.
    """
    missing = [p.label for p in parameters if p.required and _is_missing(inputs.get(p.label))]
    if missing:
        labels = ", ".join(f"'{label}'" for label in sorted(missing))
        raise GiveUp("template.missing_input", f"no value for required {labels}")


def _is_missing(value: JsonValue) -> bool:
    return value is None or (isinstance(value, str) and not value.strip(" "))
