"""Documents in MongoDB, stored unchanged in the collections of a database."""
