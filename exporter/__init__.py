"""The exporter: configuration, source, window, cycle, sinks, server and command line."""

__version__ = "0.1.0"
