"""Sessions that move: between lakes, into files and out of them, and onto a page."""
