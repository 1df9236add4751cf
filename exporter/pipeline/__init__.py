"""Evaluates samples: from the window of a job to its verdict. Read `cycle` first."""
