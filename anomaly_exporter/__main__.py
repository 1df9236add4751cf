"""`python -m anomaly_exporter` is the same as the command `anomaly-exporter`."""

from anomaly_exporter import main

main()
