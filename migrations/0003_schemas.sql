create schema lastseen;
comment on schema lastseen is 'What only the lastseen server calls; what operators call is in public.';

grant usage on schema lastseen to lastseen_service, service_role;
grant usage on schema public to anon, authenticated, service_role, lastseen_service, lastseen_definer;
