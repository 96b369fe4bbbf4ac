"""Documents in one table of DynamoDB, with an index by collection."""
