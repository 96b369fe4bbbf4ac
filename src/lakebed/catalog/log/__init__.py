"""The catalog as a shared log, on anything that can put an item if it is absent."""
