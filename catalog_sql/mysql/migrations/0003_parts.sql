-- From version 2 to 3: tables that grow.

-- (Each statement commits by itself here, and may be repeated.)

-- Tables that grow: the objects, one for each append, that a table is made of. The table itself is an
-- object too, a list of them; a part lives as long as a table that lists it.
CREATE TABLE IF NOT EXISTS {part} (
    "object_id" BIGINT NOT NULL,
    "part_id" BIGINT NOT NULL,
    PRIMARY KEY ("object_id", "part_id"),
    KEY "part_part" ("part_id"),
    FOREIGN KEY ("object_id") REFERENCES {object} ("id"),
    FOREIGN KEY ("part_id") REFERENCES {object} ("id")
) {table_options};
