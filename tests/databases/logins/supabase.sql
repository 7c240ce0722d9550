-- As Supabase has it: three roles with the names that lastseen uses, the schema `auth` of another owner with users in
-- it, and everything that the login makes in `public` is granted to all three roles.

create role anon nologin inherit;
create role authenticated nologin inherit;
create role service_role nologin inherit bypassrls;
create role authenticator login noinherit in role anon, authenticated, service_role;
create role supabase_auth_admin login noinherit createrole;
create role app login createrole createdb replication bypassrls;
grant anon, authenticated, service_role to app with admin option;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';

