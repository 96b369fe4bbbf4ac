-- From version 2 to 3: tables that grow.

-- Tables that grow: the objects, one for each append, that a table is made of. The table itself is an
-- object too, a list of them; a part lives as long as a table that lists it.
CREATE TABLE {part} (
    "object_id" bigint NOT NULL,
    "part_id" bigint NOT NULL,
    PRIMARY KEY ("object_id", "part_id")
);
CREATE INDEX "part_part" ON {part} ("part_id");
