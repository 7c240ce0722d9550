create schema lastseen;
comment on schema lastseen is 'Functions that only the lastseen server calls, and the list of applied migrations. What operators call is in public.';

grant usage on schema lastseen to lastseen_service, service_role;
-- For the functions that a user's own call runs.
grant usage on schema lastseen to authenticated;
grant usage on schema public to anon, authenticated, service_role, lastseen_service, lastseen_definer;
