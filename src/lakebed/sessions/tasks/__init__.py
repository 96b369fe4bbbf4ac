"""Tasks: the queue, and the calls of the agents that hold them."""
