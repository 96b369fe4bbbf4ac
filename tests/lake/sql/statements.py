"""A grammar of statements that try to read what they may not: files, what others loaded."""

# ruff: noqa: S608 - SQL is made of whatever comes here

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

READERS = (
    "read_text", "read_blob", "read_csv", "read_csv_auto", "read_json", "read_json_auto",
    "read_json_objects", "read_ndjson", "read_ndjson_objects", "read_parquet", "parquet_scan",
    "read_duckdb", "sniff_csv", "glob", "parquet_metadata", "parquet_schema",
    "parquet_file_metadata", "parquet_full_metadata", "parquet_kv_metadata", "parquet_bloom_probe",
    "query_table", "query", "json_execute_serialized_sql", "seq_scan", "histogram",
    "histogram_values", "summary", "pragma_table_info", "pragma_show", "pragma_storage_info",
    "duckdb_external_file_cache", "duckdb_views", "duckdb_tables", "duckdb_columns",
)  # fmt: skip
SYSTEM = (
    "duckdb_views", "duckdb_tables", "sqlite_master", "information_schema.tables",
    "information_schema.views", "information_schema.columns", "pg_catalog.pg_views",
    "pg_catalog.pg_class", "pg_catalog.pg_tables", "system.main.duckdb_views",
)  # fmt: skip
LOCAL = ("t", "entries", "documents", "pg_type", "sqlite_master", "a.b", "x.csv", "lakebed_rows")


class Grammar:
    """Draws statements about names of files and of tables.

    `files` are places that nothing may read, `tables` names of what is loaded in the session.
    Without `kinds` of other statements they are SELECTs and EXPLAINs only.
    """

    def __init__(
        self, chance: random.Random, files: Sequence[str], tables: Sequence[str], *, kinds: bool
    ) -> None:
        self._chance = chance
        self._files = files
        self._tables = tables
        self._kinds = kinds

    def statement(self) -> str:
        """One statement."""
        chance = self._chance
        text = self._other() if self._kinds and chance.random() < 0.25 else self._query(3)
        if chance.random() < 0.2:
            text = (
                chance.choice(
                    ("EXPLAIN ", "EXPLAIN ANALYZE ", "EXPLAIN (FORMAT json) ", "/* ; */ EXPLAIN\n")
                )
                + text
            )
        if self._kinds and chance.random() < 0.1:
            text = (
                chance.choice(("SELECT 1; ", "; ")) + text + chance.choice(("", "; SELECT 1", ";"))
            )
        if chance.random() < 0.1:
            text = text.replace(" ", chance.choice((" /**/ ", "\n", " -- '\n")), 3)
        return text

    def _name(self) -> str:
        """A place, written in one of the ways in which a place can be written."""
        chance = self._chance
        place = chance.choice(self._files)
        if chance.random() < 0.5:
            return place
        change: Callable[[str], str] = chance.choice(
            (
                str, str, str, str.upper, str.title,
                lambda p: p.replace("://", ":///"), lambda p: p.replace("/", "//"),
                lambda p: p.rpartition("/")[0] + "/*", lambda p: p.replace(".", "[.]"),
                lambda p: p[:-1] + "?", lambda p: p.partition("/objects")[0] + "/**",
                lambda p: "file://" + p, lambda p: p.replace("/", "/./", 1),
                lambda p: p.replace("objects/", "objects/../objects/"), lambda p: "//" + p,
                lambda p: p.removeprefix("lakebed://"), lambda p: p + "?v=1", lambda p: " " + p,
            )
        )  # fmt: skip
        return change(place)

    def _text(self) -> str:
        name = self._name().replace("'", "''")
        return self._chance.choice(
            (
                f"'{name}'",
                f"'{name}'",
                f"$${name}$$",
                f"E'{name}'",
                f"('{name[:3]}' || '{name[3:]}')",
            )
        )

    def _source(self, depth: int) -> str:
        """What may stand after FROM."""
        chance = self._chance
        kind = chance.randrange(10)
        if kind < 2:
            return chance.choice((f"'{self._name()}'", self._quoted(self._name())))
        if kind < 5:
            reader, text = chance.choice(READERS), self._text()
            arguments = chance.choice(
                (text, f"[{text}]", f"[{text}, {self._text()}]", f"{text}, filename := true", "")
            )
            return f"{reader}({arguments})"
        if kind == 5 and self._tables:
            name = chance.choice(self._tables)
            return chance.choice((name, self._quoted(name), name.rpartition(".")[2]))
        if kind == 6 and self._tables:
            name = chance.choice(SYSTEM)
            return chance.choice((name, self._quoted(name)))
        if kind == 7:
            return chance.choice(("entries", "documents", "ENTRIES", '"documents"', "LOCAL"))
        return f"({self._query(depth - 1)})" if depth else "documents"

    def _query(self, depth: int) -> str:
        chance = self._chance
        if depth and chance.random() < 0.35:
            return self._with(depth)
        source = self._source(depth)
        return chance.choice(
            (
                f"SELECT * FROM {source}", f"SELECT * FROM {source}", f"FROM {source}",
                f"TABLE {source}", f"DESCRIBE {source}", f"SUMMARIZE {source}", f"SHOW {source}",
                f"SELECT t FROM {source} t", f"SELECT (SELECT max(t) FROM {source} t)",
                f"SELECT * FROM entries WHERE EXISTS (FROM {source})",
                f"SELECT * FROM documents, LATERAL (FROM {source}) u",
                f"SELECT * FROM documents d JOIN {source} u ON true",
                f"SELECT 1 UNION ALL SELECT 2 FROM {source}",
                f"FROM (PIVOT {source} ON key IN ('a') USING count(*))",
                f"SELECT array(SELECT t FROM {source} t), (FROM {source} LIMIT 1)",
                f"SELECT * FROM (SUMMARIZE FROM {source})",
                f"SELECT * FROM {source} AT (VERSION => 1)",
                f"SELECT pg_get_viewdef(i) FROM range(9) t(i), {source}",
                f"SELECT list_transform([1], lambda x: (SELECT max(t) FROM {source} t))",
            )
        )  # fmt: skip

    def _with(self, depth: int) -> str:
        """A WITH whose names are those of files and tables, as often as not."""
        chance = self._chance
        pool = [self._name(), self._name(), *chance.sample(LOCAL, 2)]
        pool += chance.sample(self._tables, min(1, len(self._tables)))
        name = self._quoted(chance.choice(pool))
        other = self._quoted(chance.choice(pool))
        if chance.random() < 0.2:
            inner = self._writing()
            return f"WITH {name} AS ({inner}) SELECT * FROM {chance.choice((name, 'entries'))}"
        begin = chance.choice(("WITH", "WITH RECURSIVE", "WITH RECURSIVE"))
        inner = chance.choice(
            (f"SELECT * FROM {name}", f"SELECT * FROM {other}", self._query(depth - 1))
        )
        # A recursion must end: it takes from itself what it has not, or nothing.
        again = f"SELECT * FROM {name} WHERE false"
        if other != name:
            again = chance.choice((again, f"SELECT * FROM {other} WHERE 1 = 0"))
        body = chance.choice(
            (inner, f"{inner} UNION ALL {again}", f"({inner}) UNION ({again})",
             f"{inner} UNION SELECT * FROM {other}")
        )  # fmt: skip
        made = chance.choice(("", "MATERIALIZED ", "NOT MATERIALIZED "))
        more = chance.choice(("", f", {other} AS ({self._query(depth - 1)})"))
        using = chance.choice(("", "", " USING KEY (key)"))
        last = chance.choice((f"SELECT * FROM {name}", f"SELECT * FROM {other}", "SELECT 1"))
        return f"{begin} {name}{using} AS {made}({body}){more} {last}"

    def _writing(self) -> str:
        """What DuckDB 2 takes as the body of a WITH."""
        chance, text = self._chance, self._text()
        table = chance.choice(("entries", *self._tables))
        return chance.choice(
            (
                f"COPY (FROM {self._source(0)}) TO {text}", f"COPY {table} FROM {text}",
                f"INSERT INTO {table} FROM {self._source(0)} RETURNING *",
                f"DELETE FROM {table} RETURNING *", f"UPDATE {table} SET key = 1 RETURNING *",
                f"MERGE INTO {table} USING {self._source(0)} s ON true WHEN MATCHED THEN DELETE",
            )
        )  # fmt: skip

    def _other(self) -> str:
        """A statement of another kind."""
        text, query = self._text(), self._query(1)
        return self._chance.choice(
            (
                f"COPY ({query}) TO {text}", f"COPY entries FROM {text}", f"COPY t TO {text}",
                f"IMPORT DATABASE {text}", f"EXPORT DATABASE {text}", f"ATTACH {text} AS other",
                f"ATTACH {text} (TYPE sqlite)", f"CREATE MACRO m() AS TABLE {query}",
                f"CREATE VIEW v AS {query}", f"CREATE TABLE c AS {query}", f"PREPARE p AS {query}",
                "EXECUTE p", f"EXECUTE p({text})", f"INSERT INTO entries {query}", f"LOAD {text}",
                f"INSTALL {text}", f"CALL read_text({text})", f"PRAGMA import_database({text})",
                f"PRAGMA table_info({text})", f"SET VARIABLE v = (SELECT max(t) FROM ({query}) t)",
                f"SET search_path = {text}", f"USE {text}", f"PRAGMA show({text})",
                "SHOW ALL TABLES",
                "SHOW TABLES FROM lakebed_rows", "DETACH memory", f"DESCRIBE {query}",
                f"CREATE SECRET (TYPE s3, KEY_ID {text})", "SET enable_external_access = true",
                f"MERGE INTO entries USING ({query}) s ON true WHEN MATCHED THEN DELETE",
            )
        )  # fmt: skip

    @staticmethod
    def _quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'
