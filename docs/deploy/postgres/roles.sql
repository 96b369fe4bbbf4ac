-- The roles of a lake in Postgres, with the least rights. As the administrator, in its database:
--   psql --variable database=memory --file postgres/roles.sql ADDRESS
-- Then give them logins: a password (ALTER ROLE lake_writer PASSWORD …) or the cloud's identities.
-- It can be run again. What a later release adds to the schema is granted as well.
\set ON_ERROR_STOP on

-- lake_owner migrates the schema, lake_writer is what programs and upkeep use, lake_reader looks.
SELECT format('CREATE ROLE %I LOGIN', name)
  FROM unnest(ARRAY['lake_owner', 'lake_writer', 'lake_reader']) AS name
 WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) \gexec

REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO lake_owner, lake_writer, lake_reader;
GRANT TEMPORARY ON DATABASE :"database" TO lake_owner, lake_writer; -- batches

GRANT lake_owner TO CURRENT_USER; -- to act for it below
CREATE SCHEMA IF NOT EXISTS lakebed AUTHORIZATION lake_owner;
SET ROLE lake_owner;
GRANT USAGE ON SCHEMA lakebed TO lake_writer, lake_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lakebed TO lake_writer;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA lakebed TO lake_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA lakebed TO lake_reader;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA lakebed TO lake_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA lakebed
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO lake_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA lakebed GRANT USAGE, SELECT ON SEQUENCES TO lake_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA lakebed GRANT SELECT ON TABLES TO lake_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA lakebed GRANT SELECT ON SEQUENCES TO lake_reader;
RESET ROLE;
REVOKE lake_owner FROM CURRENT_USER;
