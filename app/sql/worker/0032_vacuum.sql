-- Vacuuming our own tables soon after what held it back has ended: autovacuum looks at a database once a minute.

CREATE TABLE worker.vacuums (
    relation text PRIMARY KEY,
    begun_at timestamptz NOT NULL,
    -- what worker.fn_oldest_view gave then
    oldest_view xid
) WITH (fillfactor = 50);

-- The transaction whose view of this database is the oldest that is open, or null. What died since can't be removed.
CREATE FUNCTION worker.fn_oldest_view() RETURNS xid
LANGUAGE sql SET search_path = '' AS $$
    SELECT v.view FROM (
        SELECT unnest(ARRAY[a.backend_xmin, a.backend_xid]) FROM pg_stat_activity a
        WHERE a.pid <> pg_backend_pid() AND coalesce(a.datname = current_database(), true)
        UNION ALL SELECT s.xmin FROM pg_replication_slots s
        UNION ALL SELECT p.transaction FROM pg_prepared_xacts p WHERE p.database = current_database()) AS v (view)
    WHERE v.view IS NOT NULL ORDER BY age(v.view) DESC LIMIT 1
$$;

-- The tables of ours with so many dead rows that the caller is to vacuum now: none that somebody began with
-- within p_pause_seconds, and none while the same view keeps it from getting further than the last time. A table
-- of more than a million rows, whose indexes take long to read, is left to autovacuum.
CREATE FUNCTION worker.begin_vacuums(p_dead_rows bigint, p_pause_seconds double precision) RETURNS SETOF text
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.vacuums AS v (relation, begun_at, oldest_view)
    SELECT format('%I.%I', s.schemaname, s.relname), now(), worker.fn_oldest_view()
    FROM pg_stat_user_tables s
    WHERE s.schemaname IN ('worker', 'dramatiq') AND s.n_live_tup <= 1000000
      AND s.n_dead_tup > p_dead_rows + s.n_live_tup / 1000
    ORDER BY 1
    ON CONFLICT (relation) DO UPDATE SET begun_at = excluded.begun_at, oldest_view = excluded.oldest_view
        WHERE v.begun_at <= now() - p_pause_seconds * interval '1 second'
          AND (excluded.oldest_view IS NULL OR v.oldest_view IS DISTINCT FROM excluded.oldest_view)
    RETURNING v.relation
$$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
