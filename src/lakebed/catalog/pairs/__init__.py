"""The base of catalogs without SQL, which store texts under names."""
