"""What a developer's machine and the tests have in place of the outside: a platform, Postgres, services."""
