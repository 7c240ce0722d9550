-- The caller's identity, from the claims of its JWT. Supabase has all of this; there nothing is changed.

do $$
begin
  if to_regnamespace('auth') is null then
    create schema auth;
    revoke all on schema auth from public, anon, authenticated, service_role, lastseen_service;
    comment on schema auth is 'Who is asking, from the claims of the request''s JWT.';
  elsif not has_schema_privilege('auth', 'usage') then
    -- Policies and functions name auth.uid(). PostgreSQL looks that up once, when they are made, by the rights of the
    -- role that makes them; whoever runs them later needs no right on the schema.
    raise insufficient_privilege using
      message = format('%I may not use the schema auth', current_user),
      hint = format('Have its owner run: GRANT USAGE ON SCHEMA auth TO %I; and migrate again.', current_user);
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

-- For SQL of the app's own, where the schema is ours to open.
do $$
begin
  if has_schema_privilege('auth', 'usage with grant option') then
    grant usage on schema auth to anon, authenticated, service_role, lastseen_service, lastseen_definer;
  end if;
end
$$;
