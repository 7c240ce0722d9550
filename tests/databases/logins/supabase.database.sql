-- The part of it that belongs to a database.

create schema auth authorization supabase_auth_admin;
grant usage on schema auth to app, anon, authenticated, service_role;
create table auth.users (id uuid primary key, email text unique);
alter table auth.users owner to supabase_auth_admin;
alter table auth.users enable row level security;
grant all on auth.users to app;
create function auth.uid() returns uuid language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
  )::uuid
$$;
create function auth.role() returns text language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
  )::text
$$;
alter function auth.uid() owner to supabase_auth_admin;
alter function auth.role() owner to supabase_auth_admin;

grant usage on schema public to app, anon, authenticated, service_role;
alter default privileges for role app in schema public grant all on tables to app, anon, authenticated, service_role;
alter default privileges for role app in schema public grant all on functions to app, anon, authenticated, service_role;
alter default privileges for role app in schema public grant all on sequences to app, anon, authenticated, service_role;

-- Its API is notified of every change of the schema.
create schema extensions;
create function extensions.pgrst_ddl_watch() returns event_trigger language plpgsql as $$
declare
  command record;
begin
  for command in select * from pg_event_trigger_ddl_commands() loop
    if command.command_tag in ('CREATE TABLE', 'ALTER TABLE', 'CREATE VIEW', 'CREATE FUNCTION', 'COMMENT')
       and command.schema_name is distinct from 'pg_temp' then
      notify pgrst, 'reload schema';
    end if;
  end loop;
end
$$;
create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
