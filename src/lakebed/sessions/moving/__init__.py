"""Move sessions between lakes, to and from files, and onto a page."""
