"""One file for each reader."""
