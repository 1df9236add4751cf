"""Reports for people: what was found in a week or a month, at what cost, and what nobody knows."""
