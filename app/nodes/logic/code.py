"""JavaScript of authors: `code`, where a deployment has a sandbox for it."""

from __future__ import annotations

import json

from pydantic import BaseModel, Field, JsonValue, ValidationError

from app import sandbox
from app.nodes.data.items import structured
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings
from app.nodes.task import Task
from app.redaction import redact
from app.settings import settings
from app.workflow import NodeFailure, Output, data_of
from app.workflow.values import JsonObject, compact_json, is_shallow

#: Longest code, in characters, and longest time for it.
LONGEST_CODE = 10_000
LONGEST_MS = 5_000
#: Most characters of an error that the code raised.
LONGEST_ERROR = 300

#: Code with a `return` is a function's body, any other an expression. What it prints goes nowhere, and the
#: answer is the last line.
_HARNESS = """
const fs = require('fs');
const { code, input, params } = JSON.parse(fs.readFileSync(0, 'utf8'));
for (const name of Object.keys(console)) console[name] = () => undefined;
const say = (answer) => { fs.writeSync(1, '\\n' + JSON.stringify(answer)); process.exit(0); };
(async () => {
  const make = Object.getPrototypeOf(async function () {}).constructor;
  const work = make('input', 'params', /\\breturn\\b/.test(code) ? code : `return (${code}\\n)`);
  const value = await work(input, params);
  return { value: value === undefined ? null : value };
})().then(say, (error) => say({ error: String(error) }));
"""


class Code(NodeSettings):
    """JavaScript that is given `input`, the data of each earlier node by its id, and `params`, all labels.

    The node's `timeoutMs` counts up to five seconds.
    """

    code: str = Field(min_length=1, max_length=LONGEST_CODE)


class Answer(BaseModel):
    """What the harness says."""

    value: JsonValue = None
    error: str | None = None


def _lacking() -> str | None:
    if settings().code_runner == "off":
        return "JavaScript is not run here: WORKER_CODE_RUNNER is off"
    return sandbox.hindrance()


@node_type("code", config=Code, gives=("value",), needs=_lacking)
def run_code(task: Task[Code]) -> Output:
    """Compute with JavaScript, which can reach nothing but what it is given."""
    given: JsonObject = {
        "code": task.config.code,
        "input": {node_id: data_of(output) or output for node_id, output in task.work.outputs.items()},
        "params": dict(task.work.labels),
    }
    answer = _ask(compact_json(given).encode(), min(task.node.config.timeout_ms, LONGEST_MS))
    if answer.error is not None:
        raise NodeFailure(f"code_failed: {redact(answer.error)[:LONGEST_ERROR]}")
    if not is_shallow(answer.value):
        raise NodeFailure("output_too_deep")
    return structured(answer.value if isinstance(answer.value, dict) else {"value": answer.value})


def _ask(given: bytes, timeout_ms: int) -> Answer:
    try:
        said = sandbox.run_script(_HARNESS, given, timeout_seconds=timeout_ms / 1000)
        return Answer.model_validate(json.loads(said.rpartition(b"\n")[2]))
    except sandbox.SandboxError as error:
        if error.timed_out:
            raise NodeFailure.timed_out(timeout_ms) from None
        raise NodeFailure(f"code_failed: {error}") from None
    except (ValueError, RecursionError, ValidationError):
        raise NodeFailure("code_failed: it gave no answer that can be read") from None
