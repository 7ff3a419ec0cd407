-- The counts of call_tally once more by hour: reports by a wall clock that is whole hours ahead of UTC, as most are, read
-- a quarter of the rows. Whoever counts a quarter counts its hour, in the same transaction.

CREATE TABLE call_tally_hour (
    project INTEGER NOT NULL,
    hour INTEGER NOT NULL,                  -- since the Unix epoch
    source TEXT NOT NULL,
    calls INTEGER NOT NULL,                 -- never 0
    answered INTEGER NOT NULL,
    target INTEGER NOT NULL,
    talked INTEGER NOT NULL,                -- milliseconds
    cost INTEGER NOT NULL,                  -- millionths
    PRIMARY KEY (project, hour, source)
) WITHOUT ROWID;

INSERT INTO call_tally_hour
    SELECT project, quarter / 4, source, sum(calls), sum(answered), sum(target), sum(talked), sum(cost)
    FROM call_tally GROUP BY project, quarter / 4, source;

DROP TRIGGER call_removed;
CREATE TRIGGER call_removed AFTER DELETE ON call WHEN old.status <> 'ACTIVE'
BEGIN
    UPDATE call_tally
        SET calls = calls - 1, answered = answered - (old.status = 'ANSWER'), target = target - coalesce(old.is_target, 0),
            talked = talked - CAST(coalesce(old.talked, 0) * 1000 + 0.5 AS INTEGER),
            cost = cost - CAST(coalesce(old.cost, 0) * 1000000 + 0.5 AS INTEGER)
        WHERE project = old.project AND quarter = old.created / 900000 AND source = coalesce(old.source, '');
    DELETE FROM call_tally
        WHERE project = old.project AND quarter = old.created / 900000 AND source = coalesce(old.source, '') AND calls = 0;
    UPDATE call_tally_hour
        SET calls = calls - 1, answered = answered - (old.status = 'ANSWER'), target = target - coalesce(old.is_target, 0),
            talked = talked - CAST(coalesce(old.talked, 0) * 1000 + 0.5 AS INTEGER),
            cost = cost - CAST(coalesce(old.cost, 0) * 1000000 + 0.5 AS INTEGER)
        WHERE project = old.project AND hour = old.created / 3600000 AND source = coalesce(old.source, '');
    DELETE FROM call_tally_hour
        WHERE project = old.project AND hour = old.created / 3600000 AND source = coalesce(old.source, '') AND calls = 0;
END;
