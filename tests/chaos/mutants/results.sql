-- A run that goes on finds none of its nodes completed.
DO $$
DECLARE
    v_source text := pg_get_functiondef('worker.fn_node_rows'::regproc);
    v_reuse text := 'r.status, r.output_data';
BEGIN
    ASSERT position(v_reuse IN v_source) > 0, 'stored results look different by now';
    EXECUTE replace(v_source, v_reuse,
        'CASE r.status WHEN ''completed'' THEN ''queued'' ELSE r.status END, NULL::jsonb');
END $$;
