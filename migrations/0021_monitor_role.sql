-- The role of those who watch: Grafana, psql. It belongs to the cluster, like the roles of 0001, and this file, like that
-- one, makes what is missing and can be run at any time.

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'lastseen_monitor') then
    -- NOINHERIT: it has its own grants and policies, and belongs to no other role.
    create role lastseen_monitor nologin noinherit;
    comment on role lastseen_monitor is
      'May read everything of lastseen, but for the hashes of tokens, and write nothing. For GRANT lastseen_monitor TO a login.';
  end if;
exception
  -- Another database of the cluster makes it now.
  when duplicate_object or unique_violation then
    null;
  when insufficient_privilege then
    raise insufficient_privilege using
      message = format('%I may not create the role lastseen_monitor', current_user),
      hint = format(
        'Have an administrator run: CREATE ROLE lastseen_monitor NOLOGIN NOINHERIT; GRANT lastseen_monitor TO %I WITH ADMIN OPTION; and migrate again.',
        current_user);
end
$$;

-- For SET ROLE lastseen_monitor in psql. Where a single membership can be had without inheritance (16 and newer), the
-- owner does not inherit the policies, as of lastseen_service.
do $$
declare
  with_options constant boolean := current_setting('server_version_num')::int >= 160000;
begin
  if not pg_has_role(current_user, 'lastseen_monitor', case when with_options then 'SET' else 'MEMBER' end) then
    execute format('grant lastseen_monitor to %I %s', current_user,
                   case when with_options then 'with inherit false, set true' else '' end);
  end if;
exception
  when unique_violation then
    null;
  when insufficient_privilege then
    raise insufficient_privilege using
      message = format('%I may not become a member of lastseen_monitor', current_user),
      hint = format('Have an administrator run: GRANT lastseen_monitor TO %I WITH ADMIN OPTION; and migrate again.', current_user);
end
$$;
