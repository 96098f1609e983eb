-- Lenses: prompt templates with numbered versions, and the parameters each version asks for.

CREATE SCHEMA lenses;

GRANT USAGE ON SCHEMA lenses TO anon, authenticated, service_role;

CREATE TABLE lenses.lenses (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lenser_id uuid NOT NULL DEFAULT lensers.get_auth_lenser_id() REFERENCES lensers.profiles ON DELETE CASCADE,
    visibility content.visibility_enum NOT NULL DEFAULT 'public',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    status content.content_status NOT NULL DEFAULT 'published',
    parent_lens_id uuid REFERENCES lenses.lenses ON DELETE SET NULL,
    forked_from_execution_id uuid,
    head_version_id uuid,
    forked_from_version_id uuid,
    is_featured boolean NOT NULL DEFAULT false,
    featured_at timestamptz,
    archived_at timestamptz,
    deleted_at timestamptz
);

CREATE TABLE lenses.versions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lens_id uuid NOT NULL REFERENCES lenses.lenses ON DELETE CASCADE,
    version_number integer NOT NULL,
    template_body text NOT NULL,  -- tokens: [[label]], or the legacy [[:<parameter id>]]
    status content.content_status NOT NULL DEFAULT 'draft',
    changelog text,
    parent_version_id uuid REFERENCES lenses.versions ON DELETE SET NULL,
    published_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    input_contract jsonb,
    output_contract jsonb,
    content_hash bytea,
    semver text,
    UNIQUE (lens_id, version_number)
);

CREATE UNIQUE INDEX versions_content_hash_key ON lenses.versions (content_hash)
    WHERE content_hash IS NOT NULL;

ALTER TABLE lenses.lenses
    ADD FOREIGN KEY (head_version_id) REFERENCES lenses.versions ON DELETE SET NULL,
    ADD FOREIGN KEY (forked_from_version_id) REFERENCES lenses.versions ON DELETE SET NULL;

-- A tool says what kind of input a parameter takes.
CREATE TABLE lenses.tools (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key text NOT NULL UNIQUE,
    label text,
    description text,
    category text NOT NULL DEFAULT 'input',
    type text NOT NULL,
    required boolean NOT NULL DEFAULT true,
    min_length integer NOT NULL DEFAULT 0,
    max_length integer NOT NULL DEFAULT 10000,
    placeholder text,
    help_text text,
    validation_schema jsonb,
    options jsonb,
    sort_order integer NOT NULL DEFAULT 0,
    is_system boolean NOT NULL DEFAULT false,
    icon text,
    color text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    governance_class text NOT NULL DEFAULT 'public',
    is_protected boolean NOT NULL DEFAULT false
);

CREATE TABLE lenses.version_parameters (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    version_id uuid NOT NULL REFERENCES lenses.versions ON DELETE CASCADE,
    label text NOT NULL,
    tool_id uuid NOT NULL REFERENCES lenses.tools ON DELETE SET NULL,
    optional boolean NOT NULL DEFAULT false,
    options jsonb
);

CREATE INDEX version_parameters_version_id_idx ON lenses.version_parameters (version_id);
