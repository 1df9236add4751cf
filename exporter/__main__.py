"""`python -m exporter` is the same as the command `anomaly-exporter`."""

from exporter.cli.main import main

main()
