-- The log of events, its readers, webhooks and their deliveries; callers of calls, to tell new ones.
-- Times are milliseconds since the Unix epoch, UTC.

CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of the log; never given twice
    id TEXT NOT NULL UNIQUE,                -- made of what it tells of: CALLID.ended
    type TEXT NOT NULL,
    project INTEGER,                        -- NULL: nobody's
    subject TEXT NOT NULL,                  -- events of one subject are delivered in order
    at INTEGER NOT NULL,
    value TEXT NOT NULL                     -- JSON
);
CREATE INDEX event_by_time ON event (at);

CREATE TABLE event_reader (
    name TEXT PRIMARY KEY,                  -- of a sink
    seq INTEGER NOT NULL                    -- of the last event that it has taken
) WITHOUT ROWID;

CREATE TABLE webhook_version (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL                -- grows with every change to a webhook and every replay
);
INSERT INTO webhook_version VALUES (1, 1);

CREATE TABLE webhook (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER NOT NULL,
    seq INTEGER NOT NULL,                   -- of the last event whose delivery has been planned
    value TEXT NOT NULL                     -- JSON
);
CREATE TRIGGER webhook_added AFTER INSERT ON webhook
    BEGIN UPDATE webhook_version SET version = version + 1; END;
CREATE TRIGGER webhook_changed AFTER UPDATE OF value ON webhook
    BEGIN UPDATE webhook_version SET version = version + 1; END;
CREATE TRIGGER webhook_removed AFTER DELETE ON webhook
    BEGIN UPDATE webhook_version SET version = version + 1; END;

CREATE TABLE delivery (                     -- what a webhook has not taken yet
    webhook INTEGER NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,                   -- of the event
    attempts INTEGER NOT NULL DEFAULT 0,
    due INTEGER NOT NULL DEFAULT 0,         -- when to try next
    dead INTEGER NOT NULL DEFAULT 0,        -- 1: given up; stays until it is replayed or forgotten
    PRIMARY KEY (webhook, seq)
) WITHOUT ROWID;
CREATE INDEX delivery_pending ON delivery (webhook, seq) WHERE dead = 0;

CREATE TABLE attempt (                      -- the delivery log
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook INTEGER NOT NULL,
    event TEXT NOT NULL,                    -- its id, not its seq: the log outlives events
    type TEXT NOT NULL,
    number INTEGER NOT NULL,                -- 1 = the first attempt
    at INTEGER NOT NULL,
    took INTEGER NOT NULL,                  -- milliseconds
    status INTEGER NOT NULL,                -- of HTTP; 0 = no answer
    error TEXT NOT NULL,                    -- why it counts as failed; '' = delivered
    url TEXT NOT NULL,
    request TEXT NOT NULL,                  -- body
    response TEXT NOT NULL                  -- the beginning of the body
);
CREATE INDEX attempt_by_webhook ON attempt (webhook, id);
CREATE INDEX attempt_by_event ON attempt (event);
CREATE INDEX attempt_by_time ON attempt (at);

ALTER TABLE call ADD COLUMN caller TEXT NOT NULL DEFAULT '';  -- '' = withheld
UPDATE call SET caller = json_extract(value, '$.caller');
CREATE INDEX call_by_caller ON call (caller, project, created) WHERE caller <> '';
