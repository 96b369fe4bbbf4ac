"""The settings of lakes: what each backend, catalog and storage takes."""
