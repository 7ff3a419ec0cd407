-- Projects, scenarios, numbers, and the records of calls.
-- Times are milliseconds since the Unix epoch, UTC. `value` is the whole value as JSON; the columns beside
-- it stand for what is searched, joined or kept unique. Ids in columns count, should they ever disagree.

CREATE TABLE catalog_version (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL                -- grows with every change below, whoever makes it
);
INSERT INTO catalog_version VALUES (1, 1);

CREATE TABLE project (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given twice: call records outlive projects
    key TEXT NOT NULL UNIQUE,               -- names the project in the snippet's address
    value TEXT NOT NULL
);

CREATE TABLE scenario (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER NOT NULL REFERENCES project (id),
    value TEXT NOT NULL,
    UNIQUE (project, id)                    -- for the foreign key of numbers
);

CREATE TABLE number (
    number TEXT PRIMARY KEY,                -- digits of the E.164 form
    project INTEGER NOT NULL REFERENCES project (id),
    scenario INTEGER,                       -- of the same project
    FOREIGN KEY (project, scenario) REFERENCES scenario (project, id)
) WITHOUT ROWID;
CREATE INDEX number_by_scenario ON number (project, scenario);

CREATE TRIGGER project_added AFTER INSERT ON project BEGIN UPDATE catalog_version SET version = version + 1; END;
CREATE TRIGGER project_changed AFTER UPDATE ON project BEGIN UPDATE catalog_version SET version = version + 1; END;
CREATE TRIGGER project_removed AFTER DELETE ON project BEGIN UPDATE catalog_version SET version = version + 1; END;
CREATE TRIGGER scenario_added AFTER INSERT ON scenario BEGIN UPDATE catalog_version SET version = version + 1; END;
CREATE TRIGGER scenario_changed AFTER UPDATE ON scenario BEGIN UPDATE catalog_version SET version = version + 1; END;
CREATE TRIGGER scenario_removed AFTER DELETE ON scenario BEGIN UPDATE catalog_version SET version = version + 1; END;
CREATE TRIGGER number_added AFTER INSERT ON number BEGIN UPDATE catalog_version SET version = version + 1; END;
CREATE TRIGGER number_changed AFTER UPDATE ON number BEGIN UPDATE catalog_version SET version = version + 1; END;
CREATE TRIGGER number_removed AFTER DELETE ON number BEGIN UPDATE catalog_version SET version = version + 1; END;

CREATE TABLE call (
    id TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    project INTEGER,                        -- NULL: to a number that is nobody's
    status TEXT NOT NULL,                   -- ACTIVE, or one of the final ones
    value TEXT NOT NULL                     -- without the ladder
);
CREATE INDEX call_by_time ON call (created, id);
CREATE INDEX call_by_project ON call (project, created, id);
CREATE INDEX call_by_status ON call (status, created, id);

CREATE TABLE ladder (
    call TEXT NOT NULL UNIQUE REFERENCES call (id) ON DELETE CASCADE,
    steps TEXT NOT NULL                     -- JSON array of [at_ms, side, sent, text, sdp]
);
