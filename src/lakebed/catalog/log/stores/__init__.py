"""The services that can keep a log, one in each file."""
