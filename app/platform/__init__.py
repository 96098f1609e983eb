"""The platform's rows: what is read of them, typed, and what is written to them."""
