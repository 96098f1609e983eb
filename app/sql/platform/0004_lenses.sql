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
    template_body text NOT NULL  -- tokens: [[label]], or the legacy [[:<parameter id>]]
        CHECK (length(trim(template_body)) >= 50),
    status content.content_status NOT NULL DEFAULT 'draft',
    changelog text,
    parent_version_id uuid REFERENCES lenses.versions ON DELETE SET NULL,
    published_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    input_contract jsonb
        CHECK (jsonb_typeof(input_contract) = 'object' AND jsonb_typeof(input_contract -> 'kind') = 'string'),
    output_contract jsonb CHECK (
        jsonb_typeof(output_contract) = 'object' AND jsonb_typeof(output_contract -> 'kind') = 'string'
        AND jsonb_typeof(output_contract -> 'artifactKind') = 'string'
    ),
    content_hash bytea CHECK (octet_length(content_hash) = 32),
    semver text CHECK (semver ~ '^[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9]+(\.[0-9]+)?)?$'),
    UNIQUE (lens_id, version_number),
    CHECK (status <> 'published' OR published_at IS NOT NULL)
);

CREATE UNIQUE INDEX versions_content_hash_key ON lenses.versions (content_hash)
    WHERE content_hash IS NOT NULL;

ALTER TABLE lenses.lenses
    ADD FOREIGN KEY (head_version_id) REFERENCES lenses.versions ON DELETE SET NULL,
    ADD FOREIGN KEY (forked_from_version_id) REFERENCES lenses.versions ON DELETE SET NULL;

-- A tool says what kind of input a parameter takes.
CREATE TABLE lenses.tools (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key text NOT NULL UNIQUE CHECK (key ~ '^[a-z][a-z0-9_]*$'),
    label text CHECK (char_length(label) <= 120),
    description text CHECK (char_length(description) <= 500),
    category text NOT NULL DEFAULT 'input'
        CHECK (category IN ('input', 'media', 'execution', 'battle', 'system')),
    type text NOT NULL CHECK (type IN (
        'text', 'textarea', 'json', 'number', 'integer', 'float', 'decimal', 'boolean', 'select', 'multiselect',
        'url', 'date', 'datetime', 'file', 'files', 'execution_artifact_ids', 'battle_ids', 'media_attachment_ids'
    )),
    required boolean NOT NULL DEFAULT true,
    min_length integer NOT NULL DEFAULT 0 CHECK (min_length >= 0),
    max_length integer NOT NULL DEFAULT 10000 CHECK (max_length > 0),
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
    governance_class text NOT NULL DEFAULT 'public'
        CHECK (governance_class IN ('public', 'internal', 'protected', 'system')),
    is_protected boolean NOT NULL DEFAULT false,
    CHECK (max_length >= min_length),
    CHECK (NOT is_protected OR governance_class IN ('protected', 'system'))
);

CREATE TABLE lenses.version_parameters (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    version_id uuid NOT NULL REFERENCES lenses.versions ON DELETE CASCADE,
    label text NOT NULL CHECK (length(trim(label)) > 0),
    tool_id uuid NOT NULL REFERENCES lenses.tools ON DELETE SET NULL,
    optional boolean NOT NULL DEFAULT false,
    options jsonb
);

CREATE INDEX version_parameters_version_id_idx ON lenses.version_parameters (version_id);
