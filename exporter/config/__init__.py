"""The configuration: read safely, merged from files and environment, checked whole."""
