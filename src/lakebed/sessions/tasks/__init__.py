"""Tasks: the queue, and the calls of their holders."""
