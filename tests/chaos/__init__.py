"""Chaos: every kind of work on real processes, while the processes, the database and the other sides fail.

`python -m tests.chaos` runs it and prints what held; `python -m tests.chaos.mutation` shows that each of its
checks can fail, on databases from which one safeguard was taken away.
"""
