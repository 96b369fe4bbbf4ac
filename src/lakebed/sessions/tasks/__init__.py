"""Tasks: the queue, and what its holders do."""
