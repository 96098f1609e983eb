"""`lf-worker enqueue`: one module for each kind of work that can be put into a reference platform."""
