"""From a file or a mapping to settings: read, replace references, choose, validate."""
