"""What owners may spend on calls to AI providers, kept in Postgres: held, settled, released.

Right before a call goes out, the most that it can cost is held against the budgets of its owner. The
transaction that writes its result puts what it did cost in place of that. A call of which nobody ever tells
counts with all that was held, since the money may be gone.
"""

from app.budgets.purses import OwnersPurse, purse_of

__all__ = ["OwnersPurse", "purse_of"]
