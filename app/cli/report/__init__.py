"""`lf-worker report`: what the worker did in the last hours, as one page that needs nothing else."""
