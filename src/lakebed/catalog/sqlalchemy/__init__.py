"""The catalog in MySQL, MariaDB and any other database that SQLAlchemy supports."""
