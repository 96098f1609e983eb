"""Render prompt templates: `[[label]]` tokens, and Liquid where a template uses it.

Two syntaxes may share one template:

* `[[label]]`, or `[[:parameter uuid]]`, is replaced by the input of that label. Tokens live in the
  template's own text, `{% raw %}` included; between Liquid's delimiters (`{{ [[x]] }}`) Liquid alone
  speaks, and there it has no such syntax.
* `{{ label }}` and `{% … %}` are Liquid, hardened for templates written by strangers.

Values are never evaluated: an input that contains `{{ x }}`, `{% raw %}` or `[[y]]` comes out as it went
in, whichever way it is inserted. Whatever goes wrong is an `app.errors.GiveUp` with one of the codes
`template.syntax`, `template.missing_input`, `template.too_large`, `template.limit_exceeded` and
`template.failed`; its message never holds an input's value. Nothing here touches the database.
"""

from app.templates.delimiters import needs_liquid
from app.templates.limits import Limits
from app.templates.liquid import render_liquid
from app.templates.parameters import Parameter, check_inputs
from app.templates.tokens import render_tokens, values_are_inert

__all__ = [
    "Limits",
    "Parameter",
    "check_inputs",
    "needs_liquid",
    "render_liquid",
    "render_tokens",
    "values_are_inert",
]
