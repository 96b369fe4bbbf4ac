"""A lake that is a folder of JSON files, which people can read and edit."""
