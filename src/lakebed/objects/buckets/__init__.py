"""Buckets of cloud services as stores of objects: one file a service, over a connection that they
share."""
