-- Who may look and change: API keys, people, their sessions, one-time links, the log of changes. And what lists of
-- calls are searched by. Times are milliseconds since the Unix epoch, UTC; `value` is JSON. Secrets are kept as hashes.

CREATE TABLE api_key (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    public TEXT NOT NULL UNIQUE,            -- the part of a key that finds it
    value TEXT NOT NULL
);

CREATE TABLE person (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,              -- in lower case: what the person logs in with
    value TEXT NOT NULL
);

CREATE TABLE web_session (
    id TEXT PRIMARY KEY,                    -- hash of the cookie
    person INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    expires INTEGER NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX web_session_by_person ON web_session (person);
CREATE INDEX web_session_by_expiry ON web_session (expires);

CREATE TABLE one_time_link (
    id TEXT PRIMARY KEY,                    -- hash of the secret in the link
    expires INTEGER NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER,                        -- NULL: of no single project
    value TEXT NOT NULL
);
CREATE INDEX audit_by_project ON audit (project, id);

-- Not stored: read out of `value` when a row is written, for the indexes.
ALTER TABLE call ADD COLUMN scenario INTEGER GENERATED ALWAYS AS (json_extract(value, '$.scenario')) VIRTUAL;
ALTER TABLE call ADD COLUMN callee TEXT GENERATED ALWAYS AS (json_extract(value, '$.callee')) VIRTUAL;
ALTER TABLE call ADD COLUMN visit INTEGER GENERATED ALWAYS AS (json_extract(value, '$.attribution.visit')) VIRTUAL;
ALTER TABLE call ADD COLUMN marker TEXT GENERATED ALWAYS AS (json_extract(value, '$.attribution.marker')) VIRTUAL;
ALTER TABLE call ADD COLUMN source TEXT GENERATED ALWAYS AS
    (substr(json_extract(value, '$.attribution.marker'), 1, instr(json_extract(value, '$.attribution.marker') || '_', '_') - 1)) VIRTUAL;
ALTER TABLE call ADD COLUMN talked REAL GENERATED ALWAYS AS (json_extract(value, '$.answer_duration')) VIRTUAL;
ALTER TABLE call ADD COLUMN is_target INTEGER GENERATED ALWAYS AS (json_extract(value, '$.target_call')) VIRTUAL;
ALTER TABLE call ADD COLUMN cost REAL GENERATED ALWAYS AS (json_extract(value, '$.cost')) VIRTUAL;

CREATE INDEX call_by_outcome ON call (project, status, created, id);
CREATE INDEX call_by_scenario ON call (project, scenario, created, id);
CREATE INDEX call_by_callee ON call (project, callee, created, id);
CREATE INDEX call_by_source ON call (project, source, created, id);
CREATE INDEX call_by_marker ON call (project, marker, created, id);
CREATE INDEX call_by_visit ON call (project, visit, created, id) WHERE visit IS NOT NULL;
CREATE INDEX call_by_talk ON call (project, talked, id, created);
CREATE INDEX call_overview ON call (project, created, source, status, is_target, talked, cost);
