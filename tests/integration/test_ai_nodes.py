"""Nodes that have a model write, decide and judge, with providers on a real wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.provider_server import ProviderServer
from app.local.workflows import EdgeSeed, NodeSeed
from app.workflow import InvalidWorkflow
from tests.integration.node_runs import Ran, execute_once, start
from tests.integration.workflow_rows import rows

pytestmark = pytest.mark.usefixtures("provider")

GPT = "gpt-4o"
TEXT = "The kite is red. It flies."


def asking(node_type: str, **config: Any) -> NodeSeed:
    return NodeSeed({"nodeType": node_type, "modelId": GPT, **config})


def run(database: Database, connection: Connection, node: NodeSeed, **inputs: Any) -> Ran:
    return execute_once(database, start(connection, {"it": node}, inputs=inputs or {"text": TEXT}))


def test_a_summary_is_asked_for_as_configured_and_told_with_what_it_took(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    provider.say(GPT, "A kite flies.")
    node = asking("summarizer", maxLength="30", style="bullets", focusAreas="colours")
    ran = run(database, connection, node)
    output = ran.output("it")
    assert (output["summary"], output["output"], output["wordCount"]) == ("A kite flies.",) * 2 + (3,)
    assert output["truncated"] is False
    assert output["modelId"] == GPT
    (call,) = provider.calls
    assert call.prompt == TEXT
    assert call.system is not None
    for wish in ("at most 30 words", "short points", "colours"):
        assert wish in call.system
    row = ran.node("it")
    assert row["provider_route"] == {"providerId": "openai", "modelKey": GPT}
    assert row["input_tokens"] > 0
    assert row["output_tokens"] > 0


def test_the_text_is_the_nodes_own_else_the_first_parents_else_the_runs(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    nodes = {
        "start": NodeSeed({"nodeType": "manual_trigger"}),
        "first": asking("translator", targetLanguage="French"),
        "second": asking("summarizer"),
        "third": asking("summarizer", text="own words"),
        "fourth": asking("summarizer", inputPath="translatedText"),
    }
    edges = [EdgeSeed("start", "first"), *(EdgeSeed("first", name) for name in ("second", "third", "fourth"))]
    provider.say(GPT, "Le cerf-volant")
    execute_once(database, start(connection, nodes, edges, {"text": TEXT}))
    assert provider.calls[0].prompt == TEXT
    assert sorted(call.prompt for call in provider.calls[1:]) == ["Le cerf-volant"] * 2 + ["own words"]


def test_a_long_text_is_cut_and_that_is_told(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    ran = run(database, connection, asking("translator", targetLanguage="German"), text="a" * 20_001)
    assert ran.output("it")["truncated"] is True
    assert len(provider.calls[0].prompt) == 20_000


def test_without_a_text_nobody_is_asked(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    ran = run(database, connection, asking("summarizer"), other="x")
    assert ran.error("it") == "missing_required: text"
    assert provider.calls == []


def test_a_translation_names_its_languages(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    provider.say(GPT, "Der Drachen")
    output = run(
        database, connection, asking("translator", targetLanguage="German", sourceLanguage="English")
    ).output("it")
    assert (output["translatedText"], output["sourceLanguage"], output["targetLanguage"]) == (
        "Der Drachen",
        "English",
        "German",
    )


@pytest.mark.parametrize(
    "said",
    [
        '{"category": "toys", "confidence": 0.9}',
        '```json\n{"category": " Toys ", "confidence": 0.9}\n```',
        'It is this: {"category": "TOYS", "confidence": 0.9}.',
        '<think>{"category": "animals", "confidence": 1}?</think>{"category": "toys", "confidence": "90%"}',
        'Of {these} I take {"label": "\\"toys\\"", "confidence": 0.9,} as [1] says.',
    ],
    ids=["plain", "fenced", "with words around it", "after thinking", "among braces"],
)
def test_a_classifier_gives_one_of_its_labels(
    database: Database, connection: Connection, provider: ProviderServer, said: str
) -> None:
    provider.say(GPT, said)
    output = run(database, connection, asking("classifier", categories="Toys, Animals")).output("it")
    assert (output["category"], output["confidence"], output["output"]) == ("Toys", 0.9, "Toys")


@pytest.mark.parametrize("said", ["toys", '"Toys".', "**Category:** toys", '{"category": "toys"}'])
def test_a_classifier_takes_a_bare_label_and_makes_up_no_confidence(
    database: Database, connection: Connection, provider: ProviderServer, said: str
) -> None:
    provider.say(GPT, said)
    output = run(database, connection, asking("classifier", labels=["toys", "animals"])).output("it")
    assert (output["category"], output["confidence"]) == ("toys", None)
    assert len(provider.calls) == 1


def test_a_confidence_is_asked_for_where_there_is_a_threshold(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    provider.say(GPT, "toys", '{"category": "toys", "confidence": 0.7}')
    output = run(database, connection, asking("classifier", labels=["toys"], threshold=0.5)).output("it")
    assert (output["category"], output["confidence"], len(provider.calls)) == ("toys", 0.7, 2)


def test_an_answer_that_contradicts_itself_is_asked_for_once_more(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    toys, animals = ({"category": name, "confidence": 1} for name in ("toys", "animals"))
    provider.say(GPT, f"{json.dumps(toys)} or {json.dumps(animals)}", json.dumps(animals))
    output = run(database, connection, asking("classifier", labels=["toys", "animals"])).output("it")
    assert (output["category"], len(provider.calls)) == ("animals", 2)
    assert "several answers that differ" in provider.calls[1].prompt


def test_an_unreadable_answer_is_asked_for_once_more_and_both_are_counted(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    provider.say(GPT, "toys, I think", '{"category": "toys", "confidence": 1}')
    ran = run(database, connection, asking("classifier", labels=["toys", "animals"]))
    assert ran.output("it")["category"] == "toys"
    again = provider.calls[1]
    assert [message["role"] for message in again.body["messages"]] == ["system", "user", "assistant", "user"]
    assert ran.node("it")["output_tokens"] == 3 + 4
    assert ran.output("it")["outputTokens"] == 3 + 4
    assert ran.node("it")["input_tokens"] > 0


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (["no", "no"], "unreadable_answer"),
        (['{"category": "toys", "confidence": 3}'] * 2, "unreadable_answer: confidence"),
        (['{"category": "cars", "confidence": 1}'], "unknown_label"),
        (['{"category": "toys", "confidence": 0.1}'], "below_threshold"),
    ],
    ids=["no JSON twice", "no confidence", "no label of it", "unsure"],
)
def test_a_classifier_never_guesses(
    database: Database, connection: Connection, provider: ProviderServer, said: list[str], error: str
) -> None:
    provider.say(GPT, *said)
    ran = run(database, connection, asking("classifier", labels=["toys", "animals"], threshold=0.5))
    assert ran.error("it").startswith(error)
    assert len(provider.calls) == len(said)
    assert ran.node("it")["output_tokens"] > 0


def test_what_fits_no_label_is_other_where_that_is_one(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    provider.say(GPT, '{"category": "cars", "confidence": 1}')
    assert (
        run(database, connection, asking("classifier", labels=["toys", "Other"])).output("it")["category"]
        == "Other"
    )


COMPARED = {
    "start": NodeSeed({"nodeType": "manual_trigger"}),
    "one": asking("summarizer", text="first text"),
    "two": asking("summarizer", text="second text"),
}
COMPARED_EDGES = [
    EdgeSeed("start", "one"),
    EdgeSeed("start", "two"),
    EdgeSeed("one", "it", "a"),
    EdgeSeed("two", "it", "b"),
]


def judged(
    database: Database, connection: Connection, provider: ProviderServer, verdict: object, **config: Any
) -> Ran:
    """The judge has a model of its own, so that what it says is its own."""
    said = verdict if isinstance(verdict, str) else json.dumps(verdict)
    provider.say("gpt-4o-mini", said, said)
    nodes = {**COMPARED, "it": asking("judge_evaluator", **{"modelId": "gpt-4o-mini", **config})}
    return execute_once(database, start(connection, nodes, COMPARED_EDGES))


def test_a_judge_compares_two_texts_without_knowing_whose_they_are(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    scores = [{"label": "A", "score": 4}, {"label": "B", "score": 9}]
    verdict = {"winner": "B", "scores": scores, "reasoning": "clearer"}
    ran = judged(database, connection, provider, verdict, rubric="Clarity counts.")
    output = ran.output("it")
    one, two = (str(ran.workflow.nodes[name]) for name in ("one", "two"))
    assert (output["winner"], output["winnerNodeId"]) == ("B", two)
    assert output["scores"] == {one: 4, two: 9}
    assert output["reasoning"] == output["output"] == "clearer"
    asked = next(call for call in provider.calls if call.model == "gpt-4o-mini")
    assert json.loads(asked.prompt) == {"A": "gpt-4o says: first text", "B": "gpt-4o says: second text"}
    assert "Clarity counts." in (asked.system or "")
    assert one not in asked.prompt


@pytest.mark.parametrize(
    ("verdict", "winner", "points"),
    [
        ("**B**", "B", []),
        ("Both are fine.\n\nWinner: tie", "tie", []),
        ({"winner": "b", "scores": {"A": 4, "B": 9}}, "B", [4, 9]),
        ('<think>{"winner": "A"}</think>```json\n{"winner": "Tie"}\n```', "tie", []),
    ],
    ids=["bare", "on the last line", "points by label", "after thinking"],
)
def test_a_judge_that_compares_needs_no_more_than_a_winner(
    database: Database,
    connection: Connection,
    provider: ProviderServer,
    verdict: object,
    winner: str,
    points: list[int],
) -> None:
    output = judged(database, connection, provider, verdict).output("it")
    assert (output["winner"], sorted(output["scores"].values())) == (winner, points)
    assert len([call for call in provider.calls if call.model == "gpt-4o-mini"]) == 1


def test_a_judge_gives_points_within_its_scale(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    marks = {"scores": [{"label": "A", "score": 3}, {"label": "B", "score": 2.5}], "reasoning": "so"}
    output = judged(database, connection, provider, marks, comparisonMode="scoring", maxScore="5").output(
        "it"
    )
    assert (sorted(output["scores"].values()), output["maxScore"]) == ([2.5, 3], 5)
    assert "winner" not in output


@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        ("B is better", "unreadable_answer"),
        ({"winner": "C", "scores": [{"label": "A", "score": 1}]}, "unreadable_answer"),
        ({"winner": "A", "scores": [{"label": "A", "score": 1}]}, "unusable_verdict"),
        (
            {"winner": "A", "scores": [{"label": "A", "score": 11}, {"label": "B", "score": 1}]},
            "unusable_verdict",
        ),
    ],
    ids=["words", "a third text", "a text without points", "too many points"],
)
def test_a_verdict_that_can_not_be_used_fails_the_judge(
    database: Database, connection: Connection, provider: ProviderServer, verdict: object, error: str
) -> None:
    assert judged(database, connection, provider, verdict).error("it").startswith(error)


def test_a_chain_goes_on_with_the_conversation_before_it(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    nodes = {
        "first": asking("chain", systemPrompt="You are brief."),
        "second": asking("chain", text="And then?"),
    }
    provider.say(GPT, "It flew.", "It fell.")
    ran = execute_once(
        database, start(connection, nodes, [EdgeSeed("first", "second")], {"text": "What did the kite do?"})
    )
    said = [
        {"role": "user", "content": "What did the kite do?"},
        {"role": "assistant", "content": "It flew."},
        {"role": "user", "content": "And then?"},
        {"role": "assistant", "content": "It fell."},
    ]
    assert ran.output("second")["messages"] == said
    assert ran.output("second")["output"] == "It fell."
    assert provider.calls[0].system == "You are brief."
    assert provider.calls[1].body["messages"] == said[:3]


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        (asking("translator"), "targetLanguage"),
        (asking("classifier"), "labels"),
        (asking("classifier", labels=" , "), "a classifier needs labels"),
        (asking("summarizer", maxWords=0), "maxWords"),
        (asking("judge_evaluator", maxScore="high"), "maxScore"),
        (asking("judge_evaluator", sourceNodeIds=["a", "b", "c"]), "a pairwise judgement is of two nodes"),
        (asking("chain", maxTurns="many"), "maxTurns"),
        (NodeSeed({"nodeType": "manual_trigger", "moderation": "both"}), "moderation"),
        (asking("lens_execute"), "has no lens"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.config["nodeType"],
)
def test_bad_settings_are_named_before_the_run_starts(
    database: Database, connection: Connection, provider: ProviderServer, node: NodeSeed, complaint: str
) -> None:
    with pytest.raises(InvalidWorkflow, match=complaint):
        run(database, connection, node)
    assert provider.calls == []


@pytest.mark.parametrize("node_type", ["summarizer", "translator", "classifier", "chain"])
def test_what_a_service_refuses_fails_the_node_and_what_passes_is_tried_again(
    database: Database, connection: Connection, provider: ProviderServer, node_type: str
) -> None:
    config = {"targetLanguage": "German", "labels": ["toys"]}
    provider.script(GPT, ["503", "401"])
    node = asking(node_type, retry={"attempts": 3, "backoffMs": 1}, **config)
    assert "OpenAI did not accept the API key" in run(database, connection, node).error("it")
    assert len(provider.calls) == 2


def test_a_model_may_be_named_with_the_settings_of_the_type(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    node = NodeSeed({"nodeType": "summarizer", "model": "gpt-4o-mini", "provider": "openai"})
    run(database, connection, node)
    assert [call.model for call in provider.calls] == ["gpt-4o-mini"]


@pytest.mark.parametrize("policy", ["input", "both"])
def test_what_moderation_does_not_allow_is_not_asked(
    database: Database, connection: Connection, provider: ProviderServer, policy: str
) -> None:
    ran = run(database, connection, asking("summarizer", moderation=policy), text="a forbidden text")
    assert ran.error("it") == "moderation_blocked"
    assert ran.node("it")["output_data"]["moderation"] == {
        "allowed": False,
        "policy": "input",
        "reason": "flagged as violence",
        "metadata": {"categories": ["violence"]},
    }
    assert [call.model for call in provider.calls] == ["omni-moderation-latest"]
    types = rows(connection, "SELECT type FROM lenses.workflow_run_events WHERE run_id = %s", ran.run_id)
    assert "moderation.flagged" in [row["type"] for row in types]


@pytest.mark.parametrize(("policy", "asked"), [("output", 2), ("both", 3), ("input", 2), ("off", 1)])
def test_what_a_model_says_is_moderated_where_that_is_wanted(
    database: Database, connection: Connection, provider: ProviderServer, policy: str, asked: int
) -> None:
    provider.say(GPT, "forbidden words")
    ran = run(database, connection, asking("summarizer", moderation=policy))
    is_blocked = policy in ("output", "both")
    assert (ran.node("it")["error_message"] == "moderation_blocked") is is_blocked
    assert len(provider.calls) == asked


def test_a_node_that_wants_moderation_does_not_go_on_without(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("omni-moderation-latest", ["503"])
    ran = run(database, connection, asking("summarizer", moderation="input"))
    assert "OpenAI is not available" in ran.error("it")
    assert len(provider.calls) == 1
