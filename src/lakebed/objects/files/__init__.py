"""Files under paths that the caller chooses, with headers, conditions, parts, rules and URLs."""
