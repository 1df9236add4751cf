"""Which alerts there are: expression, text, tests and runbook of each."""
