-- The messages of processes that died stay with them.
DO $$
DECLARE
    v_source text := pg_get_functiondef('worker.rescue_messages'::regproc);
    v_rescue text := 'worker.return_messages(v_owner)';
BEGIN
    ASSERT position(v_rescue IN v_source) > 0, 'the rescue looks different by now';
    EXECUTE replace(v_source, v_rescue, '0');
END $$;
