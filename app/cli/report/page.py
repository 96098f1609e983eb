"""The page: numbers, charts and looks in one file that asks nobody for anything."""

from __future__ import annotations

from importlib.resources import files

from app.cli.report import sections, words
from app.cli.report.elements import element, write
from app.cli.report.figures import Figures

#: The page may load nothing, whatever a message in it says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def draw(figures: Figures) -> str:
    """A report as HTML; its numbers are in the script element `figures` as JSON."""
    period = figures.period
    told = words.between(period.begin, period.end)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", f"lf-worker, {told}"),
        element("style", files("app.cli.report").joinpath("style.css").read_text(encoding="utf-8")),
    )
    body = element(
        "body",
        element(
            "header",
            element("h1", "lf-worker"),
            element("p", told, class_="quiet"),
            sections.overview(figures),
        ),
        element(
            "main",
            sections.work(figures),
            sections.providers(figures),
            sections.models(figures),
            sections.webhooks(figures),
            sections.dead_letters(figures),
            sections.workers(figures),
        ),
        element(
            "footer",
            element("p", _legend(), class_="quiet"),
            element("p", f"lf-worker {figures.version}, in steps of {_step(figures)}", class_="quiet"),
        ),
        element("script", _as_json(figures), id="figures", type="application/json"),
    )
    return write(element("html", head, body, lang="en"))


def _legend() -> str:
    return "Times are given as median / 99th percentile and drawn on a logarithmic scale, in UTC."


def _step(figures: Figures) -> str:
    return words.milliseconds(figures.period.step_seconds * 1000)


def _as_json(figures: Figures) -> str:
    """JSON that no browser takes for the end of its script element, or for another one's beginning."""
    return figures.model_dump_json().replace("<", "\\u003c").replace("&", "\\u0026")
