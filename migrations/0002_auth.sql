-- The caller's identity, from the claims of its JWT. Supabase has all of this; there nothing is changed.

do $$
begin
  if to_regnamespace('auth') is null then
    create schema auth;
    comment on schema auth is 'Who is asking, from the claims of the request''s JWT.';
  end if;

  if to_regprocedure('auth.uid()') is null then
    -- nullif: a setting that was once set LOCAL reads as '' for the rest of the connection.
    create function auth.uid() returns uuid
    language sql stable set search_path = ''
    return (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
    comment on function auth.uid() is 'The user that the transaction runs for: `sub` of request.jwt.claims; null where nobody is.';
  end if;

  if to_regprocedure('auth.role()') is null then
    create function auth.role() returns text
    language sql stable set search_path = ''
    return nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role';
    comment on function auth.role() is '`role` of request.jwt.claims; null where nobody is.';
  end if;
end
$$;

do $$
declare
  reader text;
begin
  foreach reader in array array['anon', 'authenticated', 'service_role', 'lastseen_service', 'lastseen_definer'] loop
    continue when has_schema_privilege(reader, 'auth', 'usage');
    begin
      execute format('grant usage on schema auth to %I', reader);
    exception when insufficient_privilege then
      null;
    end;
    -- A GRANT without the grant option only warns.
    if not has_schema_privilege(reader, 'auth', 'usage') then
      raise insufficient_privilege using
        message = format('%I may not give %I the use of the schema auth', current_user, reader),
        hint = format('Have its owner run: GRANT USAGE ON SCHEMA auth TO %I; and migrate again.', reader);
    end if;
  end loop;
end
$$;
