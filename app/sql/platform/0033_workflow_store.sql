-- What workflows keep from run to run, each under keys of its own and for a time.

CREATE TABLE public.workflow_kv_store (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id uuid NOT NULL REFERENCES lenses.workflows ON DELETE CASCADE,
    run_id uuid,
    key text NOT NULL CHECK (key ~ '^[\w\-\.]+$') CHECK (length(key) <= 256),
    value jsonb,
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
    created_at timestamptz NOT NULL DEFAULT now()
);

REVOKE ALL ON TABLE public.workflow_kv_store FROM PUBLIC, anon, authenticated;
GRANT ALL ON TABLE public.workflow_kv_store TO service_role;
