"""Secrets from the environment and from the clouds. Each source is one file."""
