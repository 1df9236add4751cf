"""The Helm chart: its values, their schema, and its archive. The templates are in deploy/chart."""
