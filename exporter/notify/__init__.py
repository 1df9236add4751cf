"""Notices sent by the exporter itself, where there is no Alertmanager."""
