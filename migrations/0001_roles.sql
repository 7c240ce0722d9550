-- The roles. They belong to the cluster, not to the database: another database of the same cluster
-- may have made them already, or may be making them now, and Supabase brings three of them.

do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('anon',             'nologin noinherit', 'A caller without a JWT.'),
      ('authenticated',    'nologin noinherit', 'A user, whose claims are set for the transaction.'),
      ('service_role',     'nologin noinherit', 'A trusted backend: sees all rows.'),
      -- NOINHERIT: it has its own grants and policies. It is a member of the users' roles only to
      -- SET ROLE to them.
      ('lastseen_service', 'nologin noinherit',
       'The role of the lastseen server, by SET ROLE: neither owner nor superuser; the policies apply to it.'),
      -- No BYPASSRLS, which only a superuser could give: a policy shows it what it reads.
      ('lastseen_definer', 'nologin noinherit',
       'Owns is_participant() and nothing else: the one read that bypasses the policies.')
    ) as roles (name, attributes, comment)
  loop
    continue when exists (select from pg_catalog.pg_roles where rolname = wanted.name);
    begin
      execute format('create role %I %s', wanted.name, wanted.attributes);
      execute format('comment on role %I is %L', wanted.name, wanted.comment);
    exception
      when duplicate_object or unique_violation then
        null;
      when insufficient_privilege then
        raise insufficient_privilege using
          message = format('%I may not create the role %I', current_user, wanted.name),
          hint = format(
            'Have a role that may create roles run: CREATE ROLE %1$I %2$s; GRANT %1$I TO %3$I WITH ADMIN OPTION; and migrate again.',
            wanted.name, upper(wanted.attributes), current_user);
    end;
  end loop;
end
$$;

do $$
declare
  -- From 16 on a membership may lack the right to SET ROLE; the one that a role's creator gets lacks it.
  by_set_role constant text :=
    case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end;
  -- If the owner inherited the service's policies, forced row security would not restrict it.
  -- 15 has no such option for a single membership.
  for_set_role_only constant text :=
    case when current_setting('server_version_num')::int >= 160000 then 'with inherit false, set true' else '' end;
  wanted record;
begin
  for wanted in
    select * from (values
      ('authenticated',    'lastseen_service'::name),
      ('anon',             'lastseen_service'::name),
      ('lastseen_service', current_user)
    ) as memberships (role, member)
  loop
    continue when pg_has_role(wanted.member, wanted.role, by_set_role);
    begin
      execute format('grant %I to %I %s', wanted.role, wanted.member, for_set_role_only);
    exception
      when unique_violation then
        null;
      when insufficient_privilege then
        raise insufficient_privilege using
          message = format('%I may not make %I a member of %I', current_user, wanted.member, wanted.role),
          hint = format('Have a role that may grant it run: GRANT %I TO %I; and migrate again.', wanted.role, wanted.member);
    end;
  end loop;
end
$$;
