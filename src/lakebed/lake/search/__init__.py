"""Search: building segments and asking them."""
