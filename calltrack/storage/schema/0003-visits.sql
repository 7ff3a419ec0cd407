-- Visits, the numbers they were shown, and those for whom none was free.
-- Times are milliseconds since the Unix epoch, UTC.

CREATE TABLE visit_number (
    project INTEGER PRIMARY KEY,
    next INTEGER NOT NULL                   -- the first visit number that nobody has set aside
);

CREATE TABLE visit (
    project INTEGER NOT NULL,
    number INTEGER NOT NULL,
    started INTEGER NOT NULL,
    value TEXT NOT NULL,                    -- JSON; fields that are private may be blanked later
    PRIMARY KEY (project, number)
) WITHOUT ROWID;
CREATE INDEX visit_by_time ON visit (started, project, number);

CREATE TABLE lease (
    number TEXT NOT NULL,
    begun INTEGER NOT NULL,
    ended INTEGER,                          -- NULL = active
    project INTEGER NOT NULL,
    scenario INTEGER NOT NULL,
    visit INTEGER NOT NULL,
    marker TEXT NOT NULL,
    confirmed INTEGER NOT NULL,
    PRIMARY KEY (number, begun),
    CHECK (ended >= begun)
) WITHOUT ROWID;
CREATE UNIQUE INDEX lease_active ON lease (number) WHERE ended IS NULL;  -- never two visits on one number
CREATE INDEX lease_by_visit ON lease (project, visit);
CREATE INDEX lease_by_scenario ON lease (scenario, begun);

CREATE TRIGGER lease_ends_once BEFORE UPDATE ON lease
    WHEN old.ended IS NOT NULL OR new.ended IS NULL OR new.number <> old.number OR new.begun <> old.begun
        OR new.project <> old.project OR new.scenario <> old.scenario OR new.visit <> old.visit
        OR new.marker <> old.marker
BEGIN SELECT RAISE(ABORT, 'the history of leases is append-only'); END;
CREATE TRIGGER lease_stays BEFORE DELETE ON lease
BEGIN SELECT RAISE(ABORT, 'the history of leases is append-only'); END;

CREATE TABLE miss (
    scenario INTEGER NOT NULL,
    at INTEGER NOT NULL,
    project INTEGER NOT NULL,
    visit INTEGER NOT NULL,
    PRIMARY KEY (scenario, at, project, visit)
) WITHOUT ROWID;
