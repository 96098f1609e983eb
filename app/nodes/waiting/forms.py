"""Waiting for a person's answer: a form, a choice, or anything."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from app.nodes.registry import Effect, node_type
from app.nodes.settings import spelled
from app.nodes.task import Task
from app.nodes.waiting.questions import Question, answer_to
from app.texts.pasted import pasted_url
from app.workflow import Output
from app.workflow.fields import FieldSchema
from app.workflow.values import JsonObject, stringify

#: Most fields and choices of one question.
MOST_FIELDS = 100

#: What builders of forms call the types.
_FORM_TYPES = {
    "text": "string",
    "textarea": "string",
    "select": "string",
    "email": "string",
    "date": "string",
    "checkbox": "boolean",
    "object": "json",
}


class InputField(FieldSchema):
    """One field of a form that a person fills in."""

    name: str = Field(min_length=1, validation_alias=spelled("name", "key", "id"))
    label: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_schema(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        kind = raw.get("type", "string")
        options = raw.get("enum", raw.get("options", raw.get("choices")))
        return {**raw, "type": _FORM_TYPES.get(kind, kind), "enum": options}

    @property
    def shown(self) -> JsonObject:
        """The field as people are asked for it."""
        shown = self.model_dump(mode="json", exclude_none=True)
        return {**shown, "label": self.label or self.name}


def _from_schema(raw: Any) -> Any:
    """A JSON schema's properties are fields too."""
    if not isinstance(raw, dict):
        return raw
    needed = raw.get("required") or []
    properties = raw.get("properties")
    return [
        {**schema, "name": name, "required": name in needed} if isinstance(schema, dict) else schema
        for name, schema in (properties.items() if isinstance(properties, dict) else ())
    ]


class HumanInput(Question):
    """A question with fields to fill in, or with choices; with neither of them, any answer will do."""

    fields: Annotated[list[InputField], BeforeValidator(_from_schema)] = Field(
        default_factory=list, max_length=MOST_FIELDS, validation_alias=spelled("fields", "schema", "form")
    )
    choices: list[str] = Field(
        default_factory=list, max_length=MOST_FIELDS, validation_alias=spelled("choices", "options")
    )
    default: JsonValue = Field(default=None, validation_alias=spelled("default", "defaultValue"))

    def read(self, said: JsonValue) -> JsonValue:
        """The answer in what was said; raises ValueError in words for who said it."""
        if self.fields:
            return self._filled(said)
        if self.choices:
            said = said.get("choice") if isinstance(said, dict) else said
            if said not in self.choices:
                raise ValueError(f"choose one of: {', '.join(self.choices)}")
        return said

    @property
    def fallback(self) -> JsonValue:
        """The answer when nobody gives one; raises ValueError if it is none."""
        return self.read({} if self.default is None and self.fields else self.default)

    def _filled(self, said: JsonValue) -> JsonObject:
        if not isinstance(said, dict):
            raise ValueError("an object with the fields is needed")
        urls = {field.name for field in self.fields if field.type == "url"}
        said = {
            name: pasted_url(value) if name in urls and isinstance(value, str) else value
            for name, value in said.items()
        }
        problems = [
            found for field in self.fields for found in field.problems(field.name, said.get(field.name))
        ]
        if problems:
            raise ValueError("; ".join(f"{p['field']}: {p['details']}" for p in problems))
        return {field.name: said.get(field.name) for field in self.fields}


def _unusable_default(config: HumanInput) -> str | None:
    if config.on_timeout == "fail":
        return None
    try:
        _ = config.fallback
    except ValueError as error:
        return f"default, {error}"
    return None


@node_type(
    "human_input",
    config=HumanInput,
    gives=("answer", "answeredBy", "answeredAt", "timedOut"),
    effect=Effect.WAITS,
    check=_unusable_default,
)
def ask(task: Task[HumanInput]) -> Output:
    """Wait for a person's answer: some fields, a choice, or anything."""
    config = task.config
    form: JsonObject = {"kind": "input"}
    if config.fields:
        form["fields"] = [field.shown for field in config.fields]
    elif config.choices:
        form["choices"] = list(config.choices)
    given = answer_to(task, config, form, config.read, lambda: config.fallback)
    fields = given.value if isinstance(given.value, dict) else {}
    data: JsonObject = {**fields, "answer": given.value, **given.record}
    return Output(text=stringify(given.value), artifact_kind="json", data=data)
