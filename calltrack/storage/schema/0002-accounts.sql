-- SIP accounts of projects, and the devices that are logged in to them.

CREATE TABLE account_version (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL                -- grows with every change to an account, whoever makes it
);
INSERT INTO account_version VALUES (1, 1);

CREATE TABLE account (
    project INTEGER PRIMARY KEY REFERENCES project (id),
    user TEXT NOT NULL UNIQUE,
    realm TEXT NOT NULL,                    -- that the hashes were made for
    ha1_md5 TEXT NOT NULL,                  -- hex; '' = no password, nobody can log in
    ha1_sha256 TEXT NOT NULL
);

CREATE TRIGGER account_added AFTER INSERT ON account BEGIN UPDATE account_version SET version = version + 1; END;
CREATE TRIGGER account_changed AFTER UPDATE ON account BEGIN UPDATE account_version SET version = version + 1; END;
CREATE TRIGGER account_removed AFTER DELETE ON account BEGIN UPDATE account_version SET version = version + 1; END;

CREATE TABLE binding (
    project INTEGER NOT NULL,
    id INTEGER NOT NULL,
    value TEXT NOT NULL,                    -- JSON
    PRIMARY KEY (project, id)
) WITHOUT ROWID;
