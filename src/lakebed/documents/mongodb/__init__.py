"""Documents in MongoDB, each in a collection of its own database, unchanged."""
