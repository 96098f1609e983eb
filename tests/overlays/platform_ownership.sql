-- What Supabase keeps for itself, run by a superuser over a platform that its owner has made: the schemas of
-- its services belong to others there, and the owner may use them but not change them.

DO $do$
DECLARE
    v_thing text;
BEGIN
    FOR v_thing IN
        SELECT format('SCHEMA %I', n.nspname) FROM pg_namespace n
        WHERE n.nspname IN ('auth', 'extensions', 'realtime', 'vault')
        UNION ALL
        SELECT format('%s %s', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass)
        FROM pg_class c
        WHERE c.relkind IN ('r', 'v') AND c.relnamespace IN ('auth'::regnamespace, 'realtime'::regnamespace,
                                                             'vault'::regnamespace)
        UNION ALL
        SELECT format('FUNCTION %s', p.oid::regprocedure) FROM pg_proc p
        WHERE p.pronamespace IN ('auth'::regnamespace, 'realtime'::regnamespace, 'vault'::regnamespace)
    LOOP
        EXECUTE format('ALTER %s OWNER TO CURRENT_USER', v_thing);
    END LOOP;
END
$do$;

-- From version 16 on whoever makes a role is its member without being allowed to take it on.
REVOKE anon, authenticated, service_role FROM lf_platform_owner;
GRANT anon, authenticated, service_role TO lf_platform_owner WITH ADMIN OPTION;
GRANT pg_monitor, pg_read_all_data, pg_signal_backend TO lf_platform_owner;

GRANT USAGE ON SCHEMA auth, extensions, realtime, vault TO lf_platform_owner;
GRANT SELECT, INSERT, UPDATE, DELETE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA auth TO lf_platform_owner;
GRANT SELECT, INSERT ON realtime.messages TO lf_platform_owner;
-- INSERT is for the seeds, whose secrets have ids that vault.create_secret can't be told.
GRANT SELECT, INSERT, DELETE ON vault.secrets TO lf_platform_owner;
GRANT SELECT ON vault.decrypted_secrets TO lf_platform_owner;
