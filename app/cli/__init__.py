"""The command `lf-worker`: one module for each subcommand or group of them."""
