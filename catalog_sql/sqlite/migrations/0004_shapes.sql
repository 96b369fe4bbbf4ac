-- From version 3 to 4: the metadata index tells which entries lack a field. It is filled anew.

CREATE INDEX entry_bare ON entry ("metadata") WHERE "metadata" = '{}';

DELETE FROM entry_metadata;
DELETE FROM metadata_ended;
UPDATE {lakebed_meta} SET "value" = 0 WHERE "name" = 'metadata_indexed';
