"""Files under paths of the caller's choice: with headers, conditions, parts, rules and URLs."""
