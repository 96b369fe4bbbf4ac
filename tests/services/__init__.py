"""Private servers of services without SQL, and of SQLite by wire, for tests.

Each module has the server's class, a context manager that runs one, a fixture of the session
(one a worker, isolated by the names that it gives out), and where it helps one of the test's own.
A test's conftest imports the fixtures that it wants.
"""
