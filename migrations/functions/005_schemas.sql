-- Who may use the schemas. Default privileges may have given more, as on Supabase, here and in all other files; a restore
-- may have given less.

revoke all on schema lastseen
  from public, anon, authenticated, service_role, lastseen_service, lastseen_definer, lastseen_monitor;
-- The schema of the tables, where it was made for them. Any other is its owner's to say.
do $$
begin
  if obj_description('public'::regnamespace, 'pg_namespace') = 'The tables, views and functions of lastseen.' then
    revoke all on schema public
      from public, anon, authenticated, service_role, lastseen_service, lastseen_definer, lastseen_monitor;
  end if;
end
$$;

-- Users, for the functions that a call of their own runs; lastseen_definer, for the subjects that it reads for them.
grant usage on schema lastseen to authenticated, lastseen_service, service_role, lastseen_definer, lastseen_monitor;
grant usage on schema public to anon, authenticated, service_role, lastseen_service, lastseen_definer, lastseen_monitor;

-- What was applied: written by the migrator alone, read by servers that start with --migrate=false.
revoke all on lastseen.migrations
  from public, anon, authenticated, service_role, lastseen_service, lastseen_definer, lastseen_monitor;
grant select on lastseen.migrations to lastseen_service, lastseen_monitor;
