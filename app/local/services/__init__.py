"""Stand-ins for the services that workflows call: their wire formats over HTTP, their state in memory.

For the demo, the dev command and the tests.
"""
