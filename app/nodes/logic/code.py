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
from app.texts.json_text import is_shallow
from app.workflow import NodeFailure, Output, data_of
from app.workflow.values import JsonObject, compact_json

#: Longest code, in characters, and longest time for it.
LONGEST_CODE = 10_000
LONGEST_MS = 5_000
#: Most characters of an error that the code raised.
LONGEST_ERROR = 300

#: The engine itself tells an expression from a function's body, by compiling it: what stands as well in
#: parentheses as in brackets is one expression, perhaps with a semicolon and comments behind it. JSON leaves
#: out what it can't hold, so each such value is named instead. What the code prints goes nowhere, and the
#: answer is the last line.
_HARNESS = r"""
const fs = require('fs');
const { code, input, params } = JSON.parse(fs.readFileSync(0, 'utf8'));
for (const name of Object.keys(console)) console[name] = () => undefined;
const say = (text) => { fs.writeSync(1, '\n' + text); process.exit(0); };
const AsyncFunction = Object.getPrototypeOf(async function () {}).constructor;
const make = (body) => new AsyncFunction('input', 'params', body);
const compiles = (body) => { try { make(body); return true; } catch { return false; } };
const isExpression = (text) => compiles(`return (${text}\n)`) && compiles(`return [${text}\n]`);
const isIdle = (text) => /^(?:[;\s]|\/\/[^\n]*(?:\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/)+$/.test(text);
const compile = () => {
  const ends = [...code.matchAll(/;/g)].map((found) => found.index).reverse().slice(0, 20);
  const parts = ends.filter((end) => isIdle(code.slice(end))).map((end) => code.slice(0, end));
  const found = [code, ...parts].find(isExpression);
  return make(found === undefined ? code : `return (${found}\n)`);
};
const refuse = (what, hint) => { throw `the result ${what}; ${hint}`; };
const unfit = (value) => ({
  bigint: ['a BigInt', 'make it a Number or a String'],
  function: ['a function', 'call it and give what it returns'],
  symbol: ['a symbol', 'give its description'],
})[typeof value]
  || (value instanceof Map && ['a Map', 'make it an object with Object.fromEntries'])
  || (value instanceof Set && ['a Set', 'make it a list with Array.from'])
  || (value instanceof Promise && ['a promise', 'await it']);
const toJson = (result) => {
  if (result === undefined) refuse('is undefined', 'give an expression, or end with `return` and a value');
  const trail = [];
  return JSON.stringify({ value: result }, function (key, value) {
    while (trail.length && trail[trail.length - 1].inside !== this) trail.pop();
    const isOuter = trail.some((step) => step.inside === value);
    const [what, hint] = isOuter ? ['a cycle', 'JSON can not hold that'] : unfit(value) || [];
    if (what) {
      const path = [...trail.map((step) => step.key), key].slice(2).join('.');
      refuse(path ? `has ${what} at '${path}'` : `is ${what}`, hint);
    }
    if (typeof value === 'object' && value !== null) trail.push({ key, inside: value });
    return value;
  });
};
const told = (error) => {
  try { return String(error); } catch { return 'something was thrown that has no text'; }
};
const fail = (error) => say(JSON.stringify({ error: told(error) }));
process.once('beforeExit', () => fail('it waits for a promise that nothing settles'));
(async () => toJson(await compile()(input, params)))().then(say, fail);
"""


class Code(NodeSettings):
    """JavaScript that is given `input`, the data of each earlier node by its id, and `params`, all labels.

    It is an expression, or the body of an async function, which ends with `return` and a value.
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
