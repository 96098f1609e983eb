-- People ("lensers") and the workspaces they work in.

CREATE SCHEMA content;
CREATE SCHEMA lensers;
CREATE SCHEMA tenancy;

GRANT USAGE ON SCHEMA content, lensers, tenancy TO anon, authenticated, service_role;

CREATE TYPE content.visibility_enum AS ENUM ('public', 'unlisted', 'private');
CREATE TYPE content.content_status AS ENUM ('draft', 'published', 'archived');
CREATE TYPE lensers.lenser_status AS ENUM ('active', 'suspended', 'deleted');
CREATE TYPE lensers.lenser_visibility AS ENUM ('public', 'private');
CREATE TYPE lensers.lenser_type AS ENUM ('human', 'ai');  -- 'ai': an agent's profile

CREATE TABLE lensers.profiles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid UNIQUE DEFAULT auth.uid() REFERENCES auth.users ON DELETE CASCADE,
    handle text NOT NULL UNIQUE,
    display_name text NOT NULL,
    bio text,
    headline text,
    avatar_url text,
    banner_url text,
    location text,
    website_url text,
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
    login_count integer DEFAULT 0,
    onboarding_step smallint NOT NULL DEFAULT 0,
    onboarding_completed_at timestamptz,
    type lensers.lenser_type NOT NULL DEFAULT 'human',
    ai_model_id uuid,
    deletion_deadline_at timestamptz,
    is_super_admin boolean NOT NULL DEFAULT false,
    journey_state jsonb NOT NULL DEFAULT '{}',
    referral_source text
);

CREATE TABLE tenancy.workspaces (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug text NOT NULL UNIQUE,
    type text NOT NULL,
    display_name text NOT NULL,
    owner_lenser_id uuid REFERENCES lensers.profiles ON DELETE SET NULL,
    org_id uuid,
    status text NOT NULL DEFAULT 'active',
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- The profile of the person who is signed in, or NULL.
CREATE FUNCTION lensers.get_auth_lenser_id() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT profile.id FROM lensers.profiles AS profile WHERE profile.user_id = auth.uid()
$$;
