-- People ("lensers") and the workspaces they work in.

CREATE SCHEMA content;
CREATE SCHEMA lensers;
CREATE SCHEMA tenancy;

GRANT USAGE ON SCHEMA content, lensers, tenancy TO anon, authenticated, service_role;

CREATE TYPE content.visibility_enum AS ENUM ('public', 'community', 'private', 'followers');
CREATE TYPE content.content_status AS ENUM ('draft', 'published', 'archived');
CREATE TYPE lensers.lenser_status AS ENUM (
    'active', 'suspended', 'deactivated', 'pending_deletion', 'deleted'
);
CREATE TYPE lensers.lenser_visibility AS ENUM ('public', 'community', 'private', 'followers');
CREATE TYPE lensers.lenser_type AS ENUM ('human', 'ai');  -- 'ai': an agent's profile

CREATE TABLE lensers.profiles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid UNIQUE DEFAULT auth.uid() REFERENCES auth.users ON DELETE CASCADE,
    handle text NOT NULL UNIQUE CHECK (
        handle = lower(handle) AND handle ~ '^[a-z0-9._]+$' AND char_length(handle) BETWEEN 4 AND 24
    ),
    display_name text NOT NULL CHECK (length(display_name) <= 60),
    bio text CHECK (length(bio) <= 500),
    headline text CHECK (length(headline) <= 120),
    avatar_url text,
    banner_url text,
    location text,
    website_url text CHECK (website_url ~ '^https?:\/\/[A-Za-z0-9.-]+\.[A-Za-z]{2,}.*$'),
    status lensers.lenser_status NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    visibility lensers.lenser_visibility DEFAULT 'public',
    is_in_waiting_list boolean DEFAULT false,
    deletion_requested_at timestamptz,
    last_handle_changed_at timestamptz,
    join_order bigint,
    last_login_at timestamptz,
    last_active_at timestamptz,
    login_count integer DEFAULT 0 CHECK (login_count >= 0),
    onboarding_step smallint NOT NULL DEFAULT 0,
    onboarding_completed_at timestamptz,
    type lensers.lenser_type NOT NULL DEFAULT 'human',
    ai_model_id uuid,
    deletion_deadline_at timestamptz,
    is_super_admin boolean NOT NULL DEFAULT false,
    journey_state jsonb NOT NULL DEFAULT '{}',
    referral_source text
);

CREATE UNIQUE INDEX profiles_lower_handle_key ON lensers.profiles (lower(handle));

CREATE TABLE tenancy.workspaces (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug text NOT NULL UNIQUE CHECK (
        slug ~ '^[a-z0-9]+([_-][a-z0-9]+)*$' AND char_length(slug) BETWEEN 3 AND 64
    ),
    type text NOT NULL CHECK (type IN ('personal', 'organization')),
    display_name text NOT NULL,
    owner_lenser_id uuid REFERENCES lensers.profiles ON DELETE SET NULL,
    org_id uuid,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'archived')),
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- The profile of the person who is signed in, or NULL.
CREATE FUNCTION lensers.get_auth_lenser_id() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT profile.id FROM lensers.profiles AS profile WHERE profile.user_id = auth.uid()
$$;
