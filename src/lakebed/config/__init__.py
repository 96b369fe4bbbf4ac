"""Configuration: a YAML file or a mapping says which lake to open.

Importing this package loads neither pydantic nor a YAML reader; using a configuration does.
"""
