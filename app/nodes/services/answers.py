"""What services answer, parsed; and what they say when they refuse."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

from app.http import Response
from app.texts.json_text import parse_json
from app.workflow.values import JsonObject

#: Under which keys services put what they have to say.
_WORDS = frozenset(
    {"message", "error_message", "errormessage", "errormessages", "error_description", "detail", "help"}
)
_DEEPEST = 4


class Answer(BaseModel):
    """What an operation gives: our names in the output, the service's as validation aliases."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, populate_by_name=True)

    def told(self) -> JsonObject:
        """The answer as a node's data."""
        given: JsonObject = {
            to_camel(name): value for name, value in self.model_dump(mode="json").items() if value is not None
        }
        return given


class Nothing(Answer):
    """For answers in which nothing is of interest."""


def words_of(response: Response) -> str | None:
    """What a service says of a request that it refused, from wherever in its JSON it stands."""
    value = parse_json(response.json_body.decode("utf-8", "replace"))
    found = dict.fromkeys(_words(value, _DEEPEST))
    return "; ".join(found) or None


def _words(value: JsonValue, levels: int) -> Iterator[str]:
    if levels == 0:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.lower().replace("-", "_") in _WORDS:
                yield from _texts(inner)
            yield from _words(inner, levels - 1)
        errors = value.get("errors")
        if isinstance(errors, dict):  # Jira: what is wrong, by field
            yield from (f"{field}: {said}" for field, said in errors.items() if isinstance(said, str))
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner, levels - 1)


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        yield value.strip()
    elif isinstance(value, list):
        yield from (each.strip() for each in value if isinstance(each, str) and each.strip())
