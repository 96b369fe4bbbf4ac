"""The narrow waist: names, as SQL text over small executors."""
