"""The parts of a report's page, from its numbers."""

from __future__ import annotations

from decimal import Decimal
from xml.etree.ElementTree import Element

from app.cli.report import words
from app.cli.report.charts import load_strip, percentile_lines, stacked_bars, time_marks
from app.cli.report.elements import element
from app.cli.report.figures import Figures, KindFigures, Letter, ProviderFigures, WorkerFigures
from app.cli.report.layout import card, figure, nothing, section, table, times
from app.providers.outcomes import NAMES


def overview(figures: Figures) -> Element:
    """The few numbers that one looks for first."""
    done = sum(kind.total.done for kind in figures.kinds)
    failed = sum(kind.total.failed for kind in figures.kinds)
    calls = sum(provider.total.calls for provider in figures.providers)
    errors = sum(provider.total.errors for provider in figures.providers)
    tokens = sum(model.tokens_in + model.tokens_out for model in figures.models)
    costs = [model.cost_usd for model in figures.models if model.cost_usd is not None]
    letters = sum(group.count for group in figures.letter_groups)
    numbers = (
        ("Jobs done", words.count(done), "good"),
        ("Jobs failed", words.count(failed), "bad" if failed else ""),
        ("Dead letters", words.count(letters), "bad" if letters else ""),
        ("Provider calls", words.count(calls), ""),
        ("Call errors", words.percent(errors, calls), "bad" if errors else ""),
        ("Tokens", words.count(tokens), ""),
        ("Cost", words.dollars(sum(costs, Decimal(0))) if costs else "–", ""),
        ("Workers", words.count(len(figures.workers)), ""),
    )
    tiles = [
        element("div", element("dt", name), element("dd", value, class_=mood))
        for name, value, mood in numbers
    ]
    return element("dl", *tiles, class_="tiles")


def work(figures: Figures) -> Element:
    """Throughput and times of each kind."""
    cards = [_kind(figures, kind) for kind in figures.kinds]
    return section(
        "Work",
        "Jobs by how they ended, the time until they were picked up, and that of their last attempt.",
        cards or [nothing("No job was picked up in this time.")],
    )


def _kind(figures: Figures, kind: KindFigures) -> Element:
    total, period = kind.total, figures.period
    said = f"{words.count(total.done)} done, {words.count(total.failed)} failed"
    return card(
        kind.kind.replace("_", " "),
        said,
        figure(
            "Jobs ended",
            "",
            stacked_bars(f"{kind.kind}: jobs ended", period, [(s.done, s.failed) for s in kind.steps]),
        ),
        figure(
            "Pickup",
            times(total.pickup.p50_ms, total.pickup.p99_ms),
            percentile_lines(f"{kind.kind}: pickup", period, [step.pickup for step in kind.steps]),
        ),
        figure(
            "Duration",
            times(total.duration.p50_ms, total.duration.p99_ms),
            percentile_lines(f"{kind.kind}: duration", period, [step.duration for step in kind.steps]),
        ),
        key=kind.kind,
    )


def providers(figures: Figures) -> Element:
    """Calls, errors and latency of each provider."""
    cards = [_provider(figures, provider) for provider in figures.providers]
    return section(
        "Providers",
        "Calls and their errors; the latency of those that succeeded.",
        cards or [nothing("No provider was called in this time.")],
    )


def _provider(figures: Figures, provider: ProviderFigures) -> Element:
    total, period = provider.total, figures.period
    steps = [(step.calls - step.errors, step.errors) for step in provider.steps]
    codes = [
        element("li", element("code", code), f" {words.count(number)}")
        for code, number in provider.errors.items()
    ]
    return card(
        NAMES.get(provider.provider, provider.provider),
        f"{words.count(total.calls)} calls, {words.percent(total.errors, total.calls)} errors",
        figure("Calls", "", stacked_bars(f"{provider.provider}: calls", period, steps)),
        figure(
            "Latency",
            times(total.latency.p50_ms, total.latency.p99_ms),
            percentile_lines(f"{provider.provider}: latency", period, [s.latency for s in provider.steps]),
        ),
        element("div", element("h4", "Errors"), element("ul", *codes, class_="codes")) if codes else None,
        key=provider.provider,
    )


def models(figures: Figures) -> Element:
    """What each model used and cost."""
    rows = [
        (
            element("span", model.model, element("small", model.provider)),
            words.count(model.calls),
            words.percent(model.errors, model.calls),
            words.count(model.tokens_in),
            words.count(model.tokens_out),
            words.dollars(model.cost_usd),
        )
        for model in figures.models
    ]
    headings = ("Model", "Calls", "Errors", "Tokens in", "Tokens out", "Cost")
    return section(
        "Models",
        "Tokens as the providers counted them, and their cost at the prices of the time; whoever's key paid.",
        [table(headings, rows, texts=1) if rows else nothing("No model was asked in this time.")],
    )


def webhooks(figures: Figures) -> Element:
    """Requests to receivers, and what became of the webhooks."""
    if not figures.webhook_hosts:
        return section("Webhooks", "", [nothing("No webhook was sent in this time.")])
    rows = [
        (
            host.host,
            words.count(host.requests),
            words.percent(host.errors, host.requests),
            words.count(host.delivered),
            words.count(host.waiting),
            words.count(host.dead),
            times(host.latency.p50_ms, host.latency.p99_ms),
        )
        for host in figures.webhook_hosts
    ]
    steps = [(step.done, step.failed) for step in figures.webhook_steps]
    chart = stacked_bars("webhooks: requests", figures.period, steps)
    headings = ("Host", "Requests", "Errors", "Delivered", "Waiting", "Dead", "Latency")
    return section(
        "Webhooks",
        "Requests to receivers; a webhook is tried several times before it is dead.",
        [card("", "", figure("Requests", "", chart), table(headings, rows, texts=1), key="webhooks")],
    )


def dead_letters(figures: Figures) -> Element:
    """Jobs that failed for good, with their reasons."""
    if not figures.letter_groups:
        return section("Dead letters", "", [nothing("No job failed for good in this time.")])
    groups = [
        (
            element("code", group.code or "none"),
            group.kind.replace("_", " "),
            words.count(group.count),
            words.full(group.newest_at),
        )
        for group in figures.letter_groups
    ]
    letters = [
        element(
            "li",
            element("p", element("code", letter.code or "none"), f" {letter.kind.replace('_', ' ')}"),
            element("p", letter.message or "", class_="message"),
            element(
                "p",
                f"{words.full(letter.finished_at)} · {_fate(letter)} · ",
                element("code", str(letter.job)),
                class_="quiet",
            ),
        )
        for letter in figures.newest_letters
    ]
    shown = f"The newest {len(letters)}" if len(letters) > 1 else "The newest"
    return section(
        "Dead letters",
        "Jobs that failed for good and were neither replayed nor discarded.",
        [
            table(("Reason", "Kind", "Jobs", "Newest"), groups, texts=2),
            element("details", element("summary", shown), element("ol", *letters, class_="letters")),
        ],
    )


def _fate(letter: Letter) -> str:
    attempts = words.several(letter.attempts, "attempt")
    return f"{attempts}, {words.several(letter.deaths, 'death')}" if letter.deaths else attempts


def workers(figures: Figures) -> Element:
    """Who was at work when."""
    if not figures.workers:
        return section("Workers", "", [nothing("No worker was at work in this time.")])
    most = max(load for worker in figures.workers for load in worker.loads) or 1.0
    strips = [
        figure(
            worker.worker_id,
            _load(worker),
            load_strip(worker.worker_id, figures.period, worker.loads, worker.deaths, most),
        )
        for worker in figures.workers
    ]
    names = (element("span", name) for _, name in time_marks(figures.period))
    return section(
        "Workers",
        "Jobs that each process was at on average; a line where jobs lost their process.",
        [card("", "", *strips, element("p", *names, class_="axis quiet"), key="workers")],
    )


def _load(worker: WorkerFigures) -> str:
    mean = sum(worker.loads) / len(worker.loads)
    lost = sum(worker.deaths)
    return f"{mean:.2g} on average, {max(worker.loads):.2g} at most" + (f", {lost} lost" if lost else "")
