-- A lease is begun and never renewed.
DO $$
DECLARE
    v_source text := pg_get_functiondef('worker.renew_lease'::regproc);
    v_renewal text := 'SET lease_until = now() + p_lease_seconds * interval ''1 second''';
BEGIN
    ASSERT position(v_renewal IN v_source) > 0, 'the renewal looks different by now';
    EXECUTE replace(v_source, v_renewal, 'SET lease_until = p.lease_until');
END $$;
