"""How rules, routes and runbook are written as files."""
