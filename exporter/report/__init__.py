"""Reports on a week or a month: what was found, how many alerts it took, and what is unknown."""
