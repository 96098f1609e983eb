"""Services that people have connected: GitHub, Notion, Google, Linear, Jira, Asana, monday.com and Zapier.

Each operation is a function that says in one statement what is asked of a service and what it answers;
`operation.py` makes a node of it: the credential, failures in the words of a node, and that what it does is
done once.
"""

from app.nodes.services import asana, calendar, github, jira, linear, monday, notion, sheets, zapier

__all__ = ["asana", "calendar", "github", "jira", "linear", "monday", "notion", "sheets", "zapier"]
