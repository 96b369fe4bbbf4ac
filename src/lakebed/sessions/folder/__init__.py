"""A folder of JSON files that people can read and edit, as a lake."""
