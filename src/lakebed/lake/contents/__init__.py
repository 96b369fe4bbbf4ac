"""How contents are read from the catalog and the storage, and uploaded."""
