"""Where verdicts go: the metrics page, the audit file, the newest verdicts as JSON, notifications."""
