"""Search: builds segments and searches them."""
