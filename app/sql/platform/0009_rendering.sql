-- Filling the tokens of a template: literal replacement, no language.

-- Replaces [[key]] by the value of every top-level key of the inputs, in jsonb's order of keys. What a value
-- brings in is scanned again for the keys that come later.
CREATE FUNCTION public.fn_worker_render_template(p_template_body text, p_inputs jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = '' AS $$
DECLARE
    rendered text := coalesce(p_template_body, '');
    input record;
BEGIN
    IF p_template_body IS NULL OR p_inputs IS NULL THEN
        RETURN rendered;
    END IF;
    FOR input IN SELECT * FROM jsonb_each_text(p_inputs) LOOP
        rendered := replace(rendered, '[[' || input.key || ']]', coalesce(input.value, ''));
    END LOOP;
    RETURN rendered;
END
$$;

-- Renders a version: only its declared parameters are filled. A parameter whose tool is required must have a
-- value, whatever the parameter's own `optional` says.
CREATE FUNCTION lenses.fn_render_template(p_version_id uuid, p_inputs jsonb) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    rendered text;
    parameter record;
    filled text;
BEGIN
    SELECT version.template_body INTO rendered FROM lenses.versions AS version WHERE version.id = p_version_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Lens version % not found', p_version_id USING ERRCODE = 'P0002';
    END IF;

    FOR parameter IN
        SELECT declared.id, declared.label, tool.required
        FROM lenses.version_parameters AS declared
        JOIN lenses.tools AS tool ON tool.id = declared.tool_id
        WHERE declared.version_id = p_version_id
        ORDER BY declared.label
    LOOP
        rendered := replace(rendered, '[[:' || parameter.id || ']]', '[[' || parameter.label || ']]');
        filled := nullif(btrim(p_inputs ->> parameter.label), '');
        IF filled IS NULL AND parameter.required THEN
            RAISE EXCEPTION 'Required parameter ''%'' is missing or empty', parameter.label
                USING ERRCODE = '23514';
        END IF;
        rendered := replace(rendered, '[[' || parameter.label || ']]', coalesce(filled, ''));
    END LOOP;
    RETURN rendered;
END
$$;

CREATE FUNCTION public.fn_worker_render_template(p_version_id uuid, p_inputs jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN lenses.fn_render_template(p_version_id, p_inputs);
END
$$;

-- Refuses inputs that a version can't be run with. Here a parameter's own `optional` excuses it.
CREATE FUNCTION lenses.fn_validate_inputs(p_version_id uuid, p_inputs jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    parameter record;
    given text;
BEGIN
    FOR parameter IN
        SELECT declared.label, tool.required AND NOT declared.optional AS needed, tool.max_length
        FROM lenses.version_parameters AS declared
        JOIN lenses.tools AS tool ON tool.id = declared.tool_id
        WHERE declared.version_id = p_version_id
        ORDER BY declared.label
    LOOP
        given := nullif(btrim(p_inputs ->> parameter.label), '');
        IF given IS NULL AND parameter.needed THEN
            RAISE EXCEPTION 'Required parameter ''%'' is missing or empty', parameter.label
                USING ERRCODE = '23514';
        ELSIF length(given) > parameter.max_length THEN
            RAISE EXCEPTION 'Parameter ''%'' is longer than % characters', parameter.label, parameter.max_length
                USING ERRCODE = '23514';
        END IF;
    END LOOP;
END
$$;

-- The raw body of a version of the lens; without a version that of the newest published one, else the newest.
CREATE FUNCTION public.fn_worker_get_lens_template_body(p_lens_id uuid, p_version_id uuid DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN (
        SELECT version.template_body
        FROM lenses.versions AS version
        WHERE version.lens_id = p_lens_id
          AND (p_version_id IS NULL OR version.id = p_version_id)
        ORDER BY version.status = 'published' DESC,
                 CASE WHEN version.status = 'published' THEN version.published_at END DESC NULLS LAST,
                 version.version_number DESC
        LIMIT 1
    );
END
$$;

REVOKE ALL ON FUNCTION
    public.fn_worker_render_template(text, jsonb),
    public.fn_worker_render_template(uuid, jsonb),
    public.fn_worker_get_lens_template_body
FROM PUBLIC, anon, authenticated;

GRANT EXECUTE ON FUNCTION
    public.fn_worker_render_template(text, jsonb),
    public.fn_worker_render_template(uuid, jsonb),
    public.fn_worker_get_lens_template_body
TO service_role;
