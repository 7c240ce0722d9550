-- Where there is a table of users, as on Supabase, a user's rows go with the user. Policies do not interfere:
-- PostgreSQL enforces references without them.

create or replace function lastseen.reference_auth_users() returns int
language plpgsql set search_path = ''
as $$
declare
  wanted record;
  made   int := 0;
begin
  if to_regclass('auth.users') is null then
    return 0;
  end if;
  -- Rows of users who are gone then stay, and nothing else is missing.
  if not has_any_column_privilege('auth.users', 'references') then
    raise warning 'rows of users do not go with them: % may not refer to auth.users', current_user
      using hint = format('Have its owner run: GRANT REFERENCES ON auth.users TO %I; then: SELECT lastseen.reference_auth_users();', current_user);
    return 0;
  end if;

  for wanted in
    select a.attrelid::regclass as owner_table, c.relname, a.attname, a.attnum,
           -- A user's own rows go with the user; a session stays for the others who are in it.
           case a.attname when 'user_id' then 'cascade' else 'set null' end as at_end
    from pg_catalog.pg_class as c
    join pg_catalog.pg_attribute as a on a.attrelid = c.oid
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
      and c.relname in ('reading_sessions', 'session_participants', 'session_invites', 'user_sessions', 'check_ins',
                        'partnership_members', 'sits', 'simulators')
      and a.attname in ('user_id', 'host_user_id', 'created_by') and not a.attisdropped
      and not exists (
        select from pg_catalog.pg_constraint as k
        where k.conrelid = c.oid and k.contype = 'f' and k.confrelid = 'auth.users'::regclass and k.conkey = array[a.attnum])
    order by c.relname, a.attname
  loop
    -- NOT VALID first: rows of users who are gone already must not prevent the rest.
    execute format('alter table %s add constraint %I foreign key (%I) references auth.users on delete %s not valid',
                   wanted.owner_table, wanted.relname || '_' || wanted.attname || '_fkey', wanted.attname, wanted.at_end);
    begin
      execute format('alter table %s validate constraint %I',
                     wanted.owner_table, wanted.relname || '_' || wanted.attname || '_fkey');
    exception when foreign_key_violation then
      raise warning '%.% names users who are not in auth.users: new rows are checked, these are not',
        wanted.owner_table, wanted.attname;
    end;
    -- Deleting a user looks for the rows by this column.
    if not exists (
      select from pg_catalog.pg_index as i
      where i.indrelid = wanted.owner_table and i.indkey[0] = wanted.attnum
        and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', wanted.attname))
    ) then
      execute format('create index on %s (%I) where %2$I is not null', wanted.owner_table, wanted.attname);
    end if;
    made := made + 1;
  end loop;
  return made;
end
$$;
comment on function lastseen.reference_auth_users is
  'Makes every column that names a user refer to auth.users, where that table exists, may be referred to, and this was not done yet, and returns how many. To be run again, by the owner of the tables, where auth.users came later.';

revoke all on function lastseen.reference_auth_users from public, anon, authenticated, service_role, lastseen_service;

select lastseen.reference_auth_users();
