"""How people compare values in a workflow: operators, expressions, patterns; nothing is ever executed."""

from app.workflow.language.expressions import Expression, ExpressionError, parse_expression
from app.workflow.language.operators import Operator
from app.workflow.language.patterns import matches

__all__ = ["Expression", "ExpressionError", "Operator", "matches", "parse_expression"]
