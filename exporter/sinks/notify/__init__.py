"""Notifications sent by the exporter itself, where no Alertmanager sends them."""
