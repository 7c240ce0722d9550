-- Whether a database has all that this version of lastseen makes, and whether it works. A row for each finding, with its
-- mend; or one row that says that all is well. `lastseen check` runs this file, and so does any SQL editor, as the role
-- that migrates, also while servers work: it takes less than a second, waits for no lock longer than 2 s, works on rows
-- of its own, and undoes all of it. What it leaves are functions in pg_temp, which go with the connection.
--
-- The list of what there has to be, at the end, is not written by hand:
--   LASTSEEN_WRITE_FACTS=1 cargo test --test it quick_check::the_facts

-- 1. The facts: what the catalog has of lastseen, a row each. `home` is the schema of the tables. 15 to 18 write all of
-- it in the same way, but for views.

create or replace function pg_temp.lastseen_facts(home text)
returns table (kind text, name text, definition text)
-- Settings that change how an expression is written.
language sql stable
set search_path = '' set timezone = 'UTC' set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set quote_all_identifiers = off
as $facts$
  with ours as (
    select r.oid, r.rolname, r.rolsuper, r.rolbypassrls from pg_roles as r
    where r.rolname in ('anon', 'authenticated', 'service_role', 'lastseen_service', 'lastseen_definer', 'lastseen_monitor')
  ), place as (
    select n.oid, n.nspname, n.nspowner, n.nspacl from pg_namespace as n where n.nspname in (home, 'lastseen')
  ), relation as (
    select c.*, c.oid::regclass::text as name
    from pg_class as c join place on place.oid = c.relnamespace
    where c.relkind in ('r', 'v')
  ), routine as (
    select p.*, p.oid::regprocedure::text as name
    from pg_proc as p join place on place.oid = p.pronamespace
  ), privilege as (
    select 'schema ' || quote_ident(place.nspname) as object, place.nspowner as owner, a.grantee, a.privilege_type, null as col, 0 as attnum
    from place, aclexplode(coalesce(place.nspacl, acldefault('n', place.nspowner))) as a
    -- The schema of the tables is not lastseen's alone.
    where place.nspname = 'lastseen' or (a.privilege_type = 'USAGE' and a.grantee <> 0)
    union all
    select 'table ' || r.name, r.relowner, a.grantee, a.privilege_type, null, 0
    from relation as r, aclexplode(coalesce(r.relacl, acldefault('r', r.relowner))) as a
    union all
    select 'table ' || r.name, r.relowner, a.grantee, a.privilege_type, quote_ident(c.attname), c.attnum
    from relation as r join pg_attribute as c on c.attrelid = r.oid and not c.attisdropped, aclexplode(c.attacl) as a
    union all
    select 'function ' || f.name, f.proowner, a.grantee, a.privilege_type, null, 0
    from routine as f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) as a
  ), granted as (
    select p.object, coalesce(r.rolname, 'public') as grantee,
           lower(p.privilege_type) || coalesce(' (' || string_agg(p.col, ', ' order by p.attnum) || ')', '') as what
    from privilege as p left join pg_roles as r on r.oid = p.grantee
    where p.grantee <> p.owner and p.privilege_type <> 'MAINTAIN'
      -- Of other roles the operator knows.
      and (p.grantee = 0 or p.grantee in (select ours.oid from ours))
    group by p.object, r.rolname, p.privilege_type, p.col is null
  ), fact (kind, name, definition) as (
    select 'role', o.rolname::text,
           case when o.rolname in ('lastseen_service', 'lastseen_monitor')
             then concat_ws(' ', case when o.rolsuper then 'superuser' else 'nosuperuser' end,
                                 case when o.rolbypassrls then 'bypassrls' else 'nobypassrls' end)
             else 'in the cluster'
           end
    from ours as o
    union all
    select 'membership', format('%I in %I', m.rolname, o.rolname),
           -- From 16 on a membership may lack the right to SET ROLE.
           case when pg_has_role(m.oid, o.oid, case when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end)
             then 'set role' else 'no set role' end
    from ours as o join ours as m on m.oid in (select a.member from pg_auth_members as a where a.roleid = o.oid)
    union all
    select case r.relkind when 'r' then 'table' else 'view' end, r.name,
           case r.relkind
             when 'v' then format('with (%s) as %s', array_to_string(r.reloptions, ', '), pg_get_viewdef(r.oid))
             else format('row security %s, %s', case when r.relrowsecurity then 'enabled' else 'disabled' end,
                         case when r.relforcerowsecurity then 'forced' else 'not forced' end)
           end
    from relation as r
    union all
    select 'column', format('%s.%I', r.name, a.attname),
           concat_ws(' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
                     case when a.attgenerated = '' then 'default ' || pg_get_expr(d.adbin, d.adrelid)
                          else format('generated always as (%s) stored', pg_get_expr(d.adbin, d.adrelid)) end)
    from relation as r
    join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where r.relkind = 'r'
    union all
    select 'constraint', format('%I on %s', k.conname, r.name), replace(pg_get_constraintdef(k.oid), ' NOT VALID', '')
    from pg_constraint as k join relation as r on r.oid = k.conrelid
    -- 18 has constraints for `not null` as well. References to auth.users are another matter, see below.
    where k.contype in ('c', 'p', 'u', 'x')
       or k.contype = 'f' and k.confrelid in (select relation.oid from relation)
    union all
    select 'index', i.indexrelid::regclass::text,
           case when not i.indisvalid then 'invalid: ' else '' end || pg_get_indexdef(i.indexrelid)
    from pg_index as i join relation as r on r.oid = i.indrelid
    where not exists (select from pg_constraint as k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
    union all
    select 'type', t.oid::regtype::text,
           case t.typtype
             when 'd' then concat_ws(' ', 'domain', format_type(t.typbasetype, t.typtypmod), case when t.typnotnull then 'not null' end,
               (select string_agg(pg_get_constraintdef(k.oid), ' ' order by k.conname) from pg_constraint as k where k.contypid = t.oid and k.contype = 'c'))
             when 'e' then 'enum ' || (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder) from pg_enum as e where e.enumtypid = t.oid)
             else (select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
                   from pg_attribute as a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)
           end
    from pg_type as t join place on place.oid = t.typnamespace left join pg_class as c on c.oid = t.typrelid
    where place.nspname = 'lastseen' and (t.typtype in ('d', 'e') or c.relkind = 'c')
    union all
    select 'function', f.name,
           concat_ws(' ', '(' || pg_get_function_arguments(f.oid) || ')', 'returns', pg_get_function_result(f.oid), l.lanname,
             case f.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
             case when f.proisstrict then 'strict' end,
             case when f.prosecdef then 'security definer, of ' || f.proowner::regrole end,
             'set ' || array_to_string(f.proconfig, ', '),
             'body ' || left(encode(sha256(convert_to(
               -- As in the files of migrations/, where the schema of the tables is always `public`.
               case when f.prosqlbody is null
                 then replace(replace(f.prosrc, format('"%s".', home), 'public.'), format('%L::regnamespace', home), '''public''::regnamespace')
                 else regexp_replace(pg_get_function_sqlbody(f.oid), '\m(from|join) ' || quote_ident(home) || '\.', '\1 public.', 'gi')
               end, 'UTF8')), 'hex'), 16))
    from routine as f join pg_language as l on l.oid = f.prolang
    union all
    select 'policy', format('%I on %s', p.polname, r.name),
           concat_ws(' ', case when not p.polpermissive then 'as restrictive' end, 'for',
             case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
             'to', (select string_agg(coalesce(quote_ident(o.rolname), 'public'), ', ' order by o.rolname)
                    from unnest(p.polroles) as role left join pg_roles as o on o.oid = role),
             'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
             'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
    from pg_policy as p join relation as r on r.oid = p.polrelid
    union all
    select 'trigger', format('%I on %s', t.tgname, r.name),
           case when t.tgenabled in ('D', 'R') then 'disabled: ' else '' end || pg_get_triggerdef(t.oid)
    from pg_trigger as t join relation as r on r.oid = t.tgrelid
    where not t.tgisinternal
    union all
    select 'grant', format('%s to %s', g.object, g.grantee), string_agg(g.what, ', ' order by g.what)
    from granted as g
    group by g.object, g.grantee
  )
  select fact.kind, fact.name, regexp_replace(rtrim(fact.definition, ';'), '\s+', ' ', 'g') from fact
$facts$;

-- 2. What to do about a difference: `wanted` is what this version makes, `there` what the database has, one of them may
-- be null. `own_name` is the name within `belongs_to`.

create or replace function pg_temp.lastseen_mend(
  kind text, name text, own_name text, belongs_to text, wanted text, there text) returns text
language plpgsql immutable
as $mend$
declare
  again   constant text := 'lastseen migrate --redefine';
  restore constant text := 'restore it from a backup';
  column_ constant text := '^(.*?)( not null)?(?: default (.*))?$';
  w       text[];
  t       text[];
begin
  case
    when kind = 'role' and there is not null then
      return format('alter role %s %s', name, wanted);
    when kind = 'membership' and wanted is null then
      return format('revoke %s from %s', belongs_to, own_name);
    when kind = 'table' and there is null then
      return restore;
    when kind = 'table' then
      return format('alter table %s %s row level security, %s row level security', name,
                    case when wanted like '%enabled%' then 'enable' else 'disable' end,
                    case when wanted like '%not forced' then 'no force' else 'force' end);
    when kind = 'column' and there is null then
      return format('%s; or, without its values: alter table %s add column %s %s', restore, belongs_to, own_name, wanted);
    when kind = 'column' and wanted || there like '% generated always as %' then
      return format('alter table %1$s drop column %2$s, add column %2$s %3$s', belongs_to, own_name, wanted);
    when kind = 'column' then
      w := regexp_match(wanted, column_);
      t := regexp_match(there, column_);
      return format('alter table %s ', belongs_to) || concat_ws(', ',
        case when w[1] <> t[1] then format('alter column %s type %s', own_name, w[1]) end,
        case when w[2] is distinct from t[2] then format('alter column %s %s not null', own_name, case when w[2] is null then 'drop' else 'set' end) end,
        case when w[3] is distinct from t[3] then format('alter column %s %s', own_name, coalesce('set default ' || w[3], 'drop default')) end);
    when kind = 'constraint' then
      return format('alter table %s ', belongs_to)
        || case when there is null then '' else format('drop constraint %s, ', own_name) end
        || format('add constraint %s %s', own_name, wanted);
    when kind = 'index' and there like 'invalid: %' then
      return 'reindex index ' || name;
    when kind = 'index' then
      return case when there is null then '' else format('drop index %s; ', name) end || wanted;
    when kind = 'trigger' and there like 'disabled: %' then
      return format('alter table %s enable trigger %s', belongs_to, own_name);
    when kind = 'trigger' then
      return case when there is null then '' else format('drop trigger %s on %s; ', own_name, belongs_to) end || wanted;
    when kind = 'policy' then
      return concat_ws('; ', case when there is not null then format('drop policy %s on %s', own_name, belongs_to) end,
                       format('create policy %s on %s ', own_name, belongs_to) || wanted);
    when kind = 'grant' then
      return concat_ws('; ', case when there is not null then format('revoke all on %s from %s', belongs_to, own_name) end,
                       'grant ' || wanted || format(' on %s to %s', belongs_to, own_name));
    when kind = 'function' and wanted is null then
      return 'drop function ' || name;
    else
      return again;
  end case;
end
$mend$;

-- 3. The same expression may be written in two ways: by another version of PostgreSQL, or after a backup was restored,
-- where `(a and b) and c` has become `a and b and c`. Read and written twice, it is written in one way. All else is
-- returned as it is.

create or replace function pg_temp.lastseen_rewritten(kind text, belongs_to text, definition text) returns text
language plpgsql
as $rewritten$
declare
  part  text[];
  query text;
begin
  case kind
    when 'view' then
      part := regexp_match(definition, '^(.*?) as (.*)$');
      query := part[2];
    when 'constraint' then
      part := regexp_match(definition, '^(CHECK) (.*)$');
      query := format('select %s as holds from %s', part[2], belongs_to);
    when 'policy' then
      part := regexp_match(definition, '^(.*?)(?: using (\(.*?\)))?(?: with check (\(.*\)))?$');
      query := format('select %s as using, %s as with_check from %s', coalesce(part[2], 'null'), coalesce(part[3], 'null'), belongs_to);
    else
      null;
  end case;
  if part is null then
    return definition;
  end if;
  for n in 1 .. 2 loop
    execute format('create or replace view pg_temp.lastseen_view_%s as %s', n, query);
    query := pg_get_viewdef(format('pg_temp.lastseen_view_%s', n)::regclass);
  end loop;
  raise exception using errcode = 'LS000';
exception
  when sqlstate 'LS000' then
    return part[1] || ' ' || query;
  -- It cannot be read, as where a column is missing.
  when others then
    return definition;
end
$rewritten$;

-- 4. The findings.

create or replace function pg_temp.lastseen_check()
returns table (object text, fault text, mend text)
language plpgsql
set search_path = '' set lock_timeout = '2s' set client_min_messages = warning
as $check$
declare
  home   text;
  fact  record;
  system text;
  place  text;
  failed text[] := '{}';
begin
  -- The schema of the tables: `public`, or what --schema says.
  select n.nspname into home
  from pg_constraint as k join pg_class as c on c.oid = k.conrelid join pg_namespace as n on n.oid = c.relnamespace
  where (c.relname, k.conname) in (('reading_sessions', 'open_until_closed'), ('user_sessions', 'over_when_ended'))
  order by c.relname limit 1;
  home := coalesce(home, 'public');

  if to_regnamespace('auth') is null then
    object := 'schema auth';
    fault := 'missing';
    mend := 'lastseen migrate --redefine' || case when home <> 'public' then ' --schema ' || quote_ident(home) else '' end;
    return next;
  elsif not has_schema_privilege('auth', 'usage') then
    object := 'schema auth';
    fault := format('%I may not use it', current_user);
    mend := format('grant usage on schema auth to %I -- as %s', current_user,
                   (select n.nspowner::regrole from pg_namespace as n where n.nspname = 'auth'));
    return next;
  end if;

  -- A restore may have left them to another role, who alone can change them.
  for object, place in
    with place as (
      select n.oid, n.nspname, n.nspowner from pg_namespace as n where n.nspname in (home, 'lastseen')
    ), owned as (
      select 'schema' as kind, quote_ident(nspname) as name, nspowner as owner from place where nspname = 'lastseen'
      union all
      select case c.relkind when 'v' then 'view' else 'table' end, c.oid::regclass::text, c.relowner
      from pg_class as c join place on place.oid = c.relnamespace where c.relkind in ('r', 'v')
      union all
      select 'type', t.oid::regtype::text, t.typowner
      from pg_type as t join place on place.oid = t.typnamespace left join pg_class as c on c.oid = t.typrelid
      where t.typtype in ('d', 'e') or c.relkind = 'c'
      union all
      select 'function', p.oid::regprocedure::text, p.proowner
      from pg_proc as p join place on place.oid = p.pronamespace where not p.prosecdef
    )
    select o.kind || ' ' || o.name, r.rolname
    from owned as o join pg_roles as r on r.oid = o.owner
    where not pg_has_role(o.owner, 'usage')
      and (o.kind = 'schema' or position(format(
        E'\n%s | %s |', o.kind, case when home <> 'public' then replace(o.name, quote_ident(home) || '.', 'public.') else o.name end)
        in pg_temp.lastseen_wanted()) > 0)
    order by array_position(array['schema', 'table', 'view', 'type', 'function'], o.kind), o.name
  loop
    fault := format('belongs to %I, whose rights %I does not have', place, current_user);
    mend := format('alter %s owner to %I -- as %I', object, current_user, place);
    return next;
  end loop;

  for fact in
    with wanted as (
      select l.part[1] as kind,
             replace(replace(l.part[2], 'public.', quote_ident(home) || '.'), 'schema public ', 'schema ' || quote_ident(home) || ' ') as name,
             replace(l.part[3], 'public.', quote_ident(home) || '.') as definition
      from regexp_split_to_table(pg_temp.lastseen_wanted(), '\n') as line,
      lateral regexp_match(line, '^(\S+) \| (.*?) \| (.*)$') as l (part)
      where l.part is not null
    ), there as (
      select f.kind, f.name, f.definition from pg_temp.lastseen_facts(home) as f
    ), difference as (
      select kind, name, w.definition as wanted, t.definition as there
      from wanted as w full join there as t using (kind, name)
      where w.definition is distinct from t.definition
    ), part as (
      select d.*,
             case d.kind
               when 'column' then substring(d.name from '[^.]*$')
               when 'grant' then substring(d.name from '[^ ]*$')
               when 'membership' then substring(d.name from '^[^ ]*')
               else substring(d.name from '^(.*) on ')
             end as own_name,
             case d.kind
               when 'column' then substring(d.name from '^(.*)\.')
               when 'index' then substring(coalesce(d.wanted, d.there) from ' ON (\S+) USING ')
               when 'grant' then substring(d.name from '^(.*) to ')
               when 'membership' then substring(d.name from '[^ ]*$')
               when 'function' then substring(d.name from '^[^(]*')
               else substring(d.name from '.* on (.*)$')
             end as belongs_to
      from difference as d
    ), known as (
      -- With the words of `grant`, which calls a view a table.
      select w.kind, w.name, case w.kind when 'view' then 'table' else w.kind end || ' ' || w.name as granted,
             exists (select from there as t where (t.kind, t.name) = (w.kind, w.name)) as is_there
      from wanted as w where w.kind in ('role', 'table', 'view', 'function')
    )
    select p.*
    from part as p
    where case
        -- What goes with a table, view, function or role that is missing is no finding of its own.
        when p.there is null then not exists (
          select from known as k where not k.is_there
            and (p.belongs_to in (k.name, k.granted) or p.kind in ('grant', 'membership') and p.own_name = k.name))
        when p.wanted is not null then true
        -- What is not lastseen's matters on what is: a policy or a privilege on it, a function of its name.
        when p.kind = 'membership' then true
        when p.kind in ('policy', 'grant') then
          p.belongs_to = 'schema lastseen' or exists (select from known as k where p.belongs_to in (k.name, k.granted))
        when p.kind = 'function' then exists (
          select from known as k where k.kind = 'function' and substring(k.name from '^[^(]*') = p.belongs_to)
        else false
      end
    order by array_position(array['role', 'membership', 'table', 'column', 'constraint', 'index', 'type', 'function', 'view', 'trigger', 'policy', 'grant'], p.kind),
             -- References come after the keys that they are to.
             p.wanted is not null, p.wanted like 'FOREIGN KEY%', p.name
  loop
    continue when fact.wanted is not null and fact.there is not null
      and pg_temp.lastseen_rewritten(fact.kind, fact.belongs_to, fact.wanted)
        = pg_temp.lastseen_rewritten(fact.kind, fact.belongs_to, fact.there);
    object := fact.kind || ' ' || fact.name;
    fault := case
      when fact.there is null then 'missing'
      when fact.wanted is null then 'not of lastseen: ' || fact.there
      when fact.there like 'invalid: %' then 'invalid'
      when fact.there like 'disabled: %' then 'disabled'
      when fact.kind in ('function', 'view') then 'changed'
      else format('%s instead of %s', fact.there, fact.wanted)
    end;
    mend := pg_temp.lastseen_mend(fact.kind, fact.name, fact.own_name, fact.belongs_to, fact.wanted, fact.there);
    if home <> 'public' then
      mend := replace(mend, '--redefine', '--redefine --schema ' || quote_ident(home));
    end if;
    return next;
  end loop;

  if has_schema_privilege(to_regnamespace('auth'), 'usage') and to_regclass('auth.users') is not null then
    for object in
      select format('column %s.%I', c.oid::regclass, a.attname)
      from pg_class as c join pg_namespace as n on n.oid = c.relnamespace join pg_attribute as a on a.attrelid = c.oid
      where n.nspname = home and not a.attisdropped and a.attname in ('user_id', 'host_user_id', 'created_by')
        and position(format(E'\ncolumn | public.%s.%s |', c.relname, a.attname) in pg_temp.lastseen_wanted()) > 0
        and not exists (
          select from pg_constraint as k
          where k.conrelid = c.oid and k.contype = 'f' and k.confrelid = to_regclass('auth.users') and k.conkey = array[a.attnum])
      order by 1
    loop
      fault := 'does not refer to auth.users';
      mend := case when has_any_column_privilege('auth.users', 'references') then ''
                   else format('have its owner run: grant references on auth.users to %I; then: ', current_user) end
        || 'select lastseen.reference_auth_users()';
      return next;
    end loop;
  end if;

  -- What the list does not have: views that were made on request, and what may be put beside them. Nobody but the owner
  -- makes anything in these schemas; an anonymous caller has no rights on what is in them.
  if to_regclass('lastseen.migrations') is not null then
    for object, fault, mend in
      with made as (
        select m.file, substring(o from '^\S+') as kind, substring(o from ' (.*)$') as name
        from lastseen.migrations as m, unnest(m.objects) as o
        where m.file like 'compat/%'
      ), excess (what, grantee, privilege) as (
        select 'schema ' || quote_ident(n.nspname), a.grantee, a.privilege_type
        from pg_namespace as n, aclexplode(n.nspacl) as a
        where a.privilege_type = 'CREATE'
          and (n.nspname = home or n.nspname in (select (parse_ident(made.name))[1] from made where made.kind = 'view'))
        union all
        select 'table ' || c.oid::regclass, a.grantee, a.privilege_type
        from made join pg_class as c on made.kind = 'view' and c.oid = to_regclass(made.name), aclexplode(c.relacl) as a
        union all
        select 'function ' || p.oid::regprocedure, a.grantee, a.privilege_type
        from made join pg_proc as p on made.kind = 'function' and p.proname = (parse_ident(made.name))[2]
          and p.pronamespace = to_regnamespace(quote_ident((parse_ident(made.name))[1])),
          aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
      )
      select format('grant %s to %s', e.what, w.who), 'not of lastseen: ' || string_agg(lower(e.privilege), ', ' order by e.privilege),
             format('revoke %s on %s from %s', string_agg(lower(e.privilege), ', ' order by e.privilege), e.what, w.who)
      from excess as e left join pg_roles as r on r.oid = e.grantee, lateral (select coalesce(r.rolname, 'public')) as w (who)
      where w.who in ('public', 'anon')
         or w.who = 'authenticated' and e.privilege = 'CREATE'
         or w.who in ('authenticated', 'service_role')
            and e.privilege in ('DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
      group by e.what, w.who
      order by 1
    loop
      return next;
    end loop;
  end if;

  -- Whether it works. All of it is undone; what was fact outlives that.
  begin
    perform set_config('search_path', quote_ident(home), true);
    perform pg_temp.lastseen_prepare();
    foreach system in array array['reading_sessions', 'user_sessions', 'check_ins', 'sits', 'simulators', 'analytics', 'subjects', 'strangers'] loop
      begin
        execute format('select pg_temp.lastseen_try_%s()', system);
      -- `others` has no assertions in it.
      exception when assert_failure or others then
        get stacked diagnostics place = pg_exception_context;
        failed := failed || array[system, format('%s (%s)', sqlerrm, substring(place from 'lastseen_try_\w+\(\) line \d+')), sqlstate];
      end;
    end loop;
    raise exception using errcode = 'LS000';
  exception
    when sqlstate 'LS000' then null;
    when others then
      failed := failed || array['what it does', sqlerrm, sqlstate];
  end;
  for n in 1 .. cardinality(failed) by 3 loop
    object := replace(failed[n], '_', ' ');
    fault := 'does not work: ' || failed[n + 1];
    mend := case
      when failed[n + 2] = '55P03' then 'another transaction has locked it: check again'
      when failed[n + 2] = 'NU001' then format('have its owner run: grant insert on auth.users to %I', current_user)
      else 'mend what is named above and check again; where nothing is: lastseen migrate --redefine'
    end;
    return next;
  end loop;
end
$check$;

-- 5. It works: rows that nobody else has, a thousand years old where a function acts on what is old.

create or replace function pg_temp.lastseen_prepare() returns void
language plpgsql
as $prepare$
begin
  create schema quick_check;
  grant usage on schema quick_check to lastseen_service, lastseen_monitor, authenticated, anon;

  create function quick_check.id(n int) returns uuid language sql immutable
  return ('c4ec0000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid;

  create function quick_check.long_ago() returns timestamptz language sql stable
  return now() - interval '1000 years';

  create function quick_check.become(who text, n int default null) returns void language plpgsql as $$
  begin
    perform set_config('role', who, true);
    perform set_config('request.jwt.claims',
      case when n is null then '' else json_build_object('sub', quick_check.id(n), 'role', who)::text end, true);
  end
  $$;

  create function quick_check.fails_with(state text, statement text) returns boolean language plpgsql as $$
  begin
    execute statement;
    return false;
  exception when others then
    return sqlstate = state;
  end
  $$;

  -- Where rows refer to a table of users, these are users.
  if exists (select from pg_constraint as k where k.confrelid = to_regclass('auth.users') and k.contype = 'f'
             and k.conrelid = to_regclass('user_sessions')) then
    if not has_column_privilege('auth.users', 'id', 'insert') then
      raise exception using errcode = 'NU001',
        message = format('rows of users refer to auth.users, where %I may make no users to try with', current_user);
    end if;
    insert into auth.users (id) select quick_check.id(n) from generate_series(1, 3) as n;
  end if;
end
$prepare$;

-- Reading sessions: who comes in, who is put out, and how sessions end.
create or replace function pg_temp.lastseen_try_reading_sessions() returns void
language plpgsql set plpgsql.check_asserts = on
as $try$
declare
  a      record;
  closed uuid[];
begin
  perform quick_check.become('lastseen_service');
  insert into reading_sessions (id, title, host_user_id) values (quick_check.id(100), 'quick check', quick_check.id(1));
  insert into session_invites (id, session_id, token_sha256, max_uses)
  values (quick_check.id(150), quick_check.id(100), sha256('quick check'), 5);

  a := lastseen.admit(quick_check.id(999), null, null, null, null, null, '1 hour', 'seen', 'quick check', quick_check.id(200));
  assert a.verdict = 'session_not_found', a.verdict;
  a := lastseen.admit(quick_check.id(100), null, null, quick_check.id(1), null, 'Ann', '1 hour', 'seen', 'quick check', quick_check.id(201));
  assert a.verdict = 'admitted' and a.role = 'host', a.verdict;
  a := lastseen.admit(quick_check.id(100), null, null, quick_check.id(2), sha256('quick check'), 'Bea', '1 hour', 'seen', 'quick check', quick_check.id(202));
  assert a.verdict = 'admitted' and a.role = 'participant', a.verdict;
  assert (select uses = 1 from session_invites where id = quick_check.id(150)), 'a use is counted';
  assert (select verdict = 'ok' from lastseen.inspect_invite(sha256('quick check'), '1 hour', 'seen'));
  a := lastseen.admit(quick_check.id(100), null, null, null, sha256('quick check'), 'Gus', '1 hour', 'seen', 'quick check', quick_check.id(203));
  assert lastseen.give_back(quick_check.id(203), quick_check.id(150)), 'an admission is given back';
  a := lastseen.admit(quick_check.id(100), null, null, null, sha256('quick check'), 'Hal', '1 hour', 'seen', 'quick check', quick_check.id(204));
  perform lastseen.withdraw_admissions(
    array[quick_check.id(100)], array[quick_check.id(204)], array[null::uuid], array[null::uuid],
    array[sha256('quick check')], 'quick check');
  assert (select count(*) = 2 from session_participants where session_id = quick_check.id(100)), 'an admission is withdrawn';
  assert (select not expired and minutes_until_expiry in (60, 61) from check_session_expiry(quick_check.id(100)));
  assert (select since = 'infinity' from lastseen.alone_since(array[quick_check.id(100)]));
  assert (select participants = 2 from session_stats where id = quick_check.id(100));

  perform quick_check.become('authenticated', 2);
  assert is_participant(quick_check.id(100)) and (select count(*) = 2 from session_participants where session_id = quick_check.id(100));
  assert quick_check.fails_with('42501', 'select token_sha256 from session_invites'), 'hashes of tokens can be read';
  assert quick_check.fails_with('42501', 'update reading_sessions set title = null'), 'users can write';
  perform quick_check.become('authenticated', 3);
  assert not is_participant(quick_check.id(100)) and not exists (select from reading_sessions where id = quick_check.id(100));

  perform quick_check.become('lastseen_service');
  assert lastseen.remove_participant(quick_check.id(100), quick_check.id(202));
  a := lastseen.admit(quick_check.id(100), null, null, quick_check.id(2), sha256('quick check'), 'Bea', '1 hour', 'seen', 'quick check', quick_check.id(205));
  assert a.verdict = 'removed', a.verdict;
  update session_participants set last_seen_at = quick_check.long_ago() where id = quick_check.id(201);
  assert lastseen.settle_strangers('quick check elsewhere', '900 years') = 1;

  perform lastseen.start_room_sit(quick_check.id(170), quick_check.id(100), quick_check.id(201), 600, 'quick check');
  assert (select close_reason = 'host' from lastseen.close_session(quick_check.id(100), 'host'));
  assert (select status = 'abandoned' from room_sits where id = quick_check.id(170)), 'a closed session takes its sit along';
  assert (select revoked_at is not null from session_invites where id = quick_check.id(150));

  insert into reading_sessions (id, last_seen_at, last_activity_at)
  values (quick_check.id(101), quick_check.long_ago(), quick_check.long_ago());
  select array_agg(id) into closed from cleanup_inactive_sessions('900 years');
  assert closed = array[quick_check.id(101)], 'cleanup_inactive_sessions';
  insert into reading_sessions (id, created_at) values (quick_check.id(102), quick_check.long_ago());
  select array_agg(id) into closed from close_lonely_sessions('900 years');
  assert closed = array[quick_check.id(102)], 'close_lonely_sessions';
  insert into reading_sessions (id, created_at) values (quick_check.id(103), quick_check.long_ago());
  select array_agg(id) into closed from close_aged_sessions('900 years');
  assert closed = array[quick_check.id(103)], 'close_aged_sessions';
  update reading_sessions set closed_at = quick_check.long_ago() where id = quick_check.id(101);
  assert purge_closed_sessions('900 years') = 1, 'purge_closed_sessions';
  assert quick_check.fails_with('23514', 'update reading_sessions set is_active = true where id = quick_check.id(102)');
end
$try$;

-- User sessions.
create or replace function pg_temp.lastseen_try_user_sessions() returns void
language plpgsql set plpgsql.check_asserts = on
as $try$
declare
  opened text[];
  who    int;
begin
  perform quick_check.become('lastseen_service');
  foreach who in array array[1, 1, 2] loop
    opened := opened || (
      select verdict from lastseen.open_user_session(
        quick_check.id(300 + who), quick_check.id(who), 'quick check 1', 'web', null, null, '{}', 'psql', '192.0.2.0/24',
        'quick check', '0', '1 hour'));
  end loop;
  assert opened = array['opened', 'continued', 'session_id_taken'], opened::text;
  assert (select active_count >= 1 from active_sessions_summary where platform = 'web');
  assert calculate_session_duration(now() - interval '90 seconds', now()) = 90;

  perform quick_check.become('authenticated', 1);
  assert (select count(*) = 1 from user_sessions where session_id = 'quick check 1');
  update user_sessions set metadata = '{"checked": true}' where session_id = 'quick check 1';
  assert (select active_count = 1 from active_sessions_summary where platform = 'web'), 'active_sessions_summary';
  assert quick_check.fails_with('42501', $q$
    insert into user_sessions (user_id, session_id, platform) values (quick_check.id(2), 'quick check 2', 'web') $q$);
  perform quick_check.become('authenticated', 2);
  assert not exists (select from user_sessions where session_id = 'quick check 1'), 'user sessions are seen by others';
  insert into user_sessions (user_id, session_id, platform) values (quick_check.id(2), 'quick check 2', 'ios-external');

  perform quick_check.become('lastseen_service');
  assert (select metadata = '{"checked": true}' from user_sessions where session_id = 'quick check 1');
  insert into user_sessions (user_id, session_id, platform) values (quick_check.id(2), 'quick check 4', 'web');
  perform quick_check.become('authenticated', 2);
  update user_sessions set status = 'ended', ended_at = now(), end_reason = 'logout' where session_id = 'quick check 4';
  assert (select total_duration_seconds = 0 from user_sessions where session_id = 'quick check 4'), 'a session has no duration';
  perform quick_check.become('lastseen_service');
  update user_sessions set frontend_connections = 1 where session_id = 'quick check 1';
  assert lastseen.settle_user_sessions('quick check') = 1;
  update user_sessions set expires_at = now() where session_id = 'quick check 1';
  assert expire_user_sessions() >= 1, 'expire_user_sessions';
  update user_sessions set started_at = quick_check.long_ago(), last_heartbeat_at = quick_check.long_ago()
  where session_id = 'quick check 2';
  assert end_inactive_sessions(900 * 366 * 24 * 60) = 1, 'end_inactive_sessions';
  assert cleanup_old_sessions(900 * 366) = 1, 'cleanup_old_sessions';
  assert (select status = 'timeout' and end_reason = 'timeout' from user_sessions where session_id = 'quick check 1');
end
$try$;

-- Check-ins.
create or replace function pg_temp.lastseen_try_check_ins() returns void
language plpgsql set plpgsql.check_asserts = on
as $try$
begin
  perform quick_check.become('authenticated', 1);
  insert into check_ins (id, user_id, name) values (quick_check.id(400), quick_check.id(1), 'Ann');
  assert (select minutes_remaining = 60 from active_check_ins where id = quick_check.id(400));
  assert quick_check.fails_with('23514', $q$
    update check_ins set expires_at = now() + interval '10 years' where id = quick_check.id(400) $q$), 'a check-in may be long';
  update check_ins set expires_at = clock_timestamp() + interval '1 hour' where id = quick_check.id(400);
  assert (select extension_count = 1 from check_ins where id = quick_check.id(400)), 'an extension leaves no trace';
  update check_ins set status = 'inactive', checked_out_at = now() where id = quick_check.id(400);
  assert not exists (select from active_check_ins where id = quick_check.id(400));
  perform quick_check.become('authenticated', 2);
  assert not exists (select from check_ins where id = quick_check.id(400)), 'check-ins are seen by others';
  assert quick_check.fails_with('42501', 'insert into check_ins (user_id) values (quick_check.id(1))');

  perform quick_check.become('lastseen_service');
  update check_ins set expires_at = quick_check.long_ago() where id = quick_check.id(400);
  assert cleanup_old_check_ins('900 years') = 1, 'cleanup_old_check_ins';
end
$try$;

-- Sits.
create or replace function pg_temp.lastseen_try_sits() returns void
language plpgsql set plpgsql.check_asserts = on
as $try$
begin
  perform quick_check.become('lastseen_service');
  insert into partnerships (id) values (quick_check.id(500));
  insert into partnership_members values (quick_check.id(500), quick_check.id(2)), (quick_check.id(500), quick_check.id(1));
  assert (select user_ids = array[quick_check.id(1), quick_check.id(2)] from partnerships where id = quick_check.id(500));

  perform quick_check.become('authenticated', 1);
  insert into sits (id, user_id, partnership_id, sit_length_seconds)
  values (quick_check.id(510), quick_check.id(1), quick_check.id(500), 600);
  assert quick_check.fails_with('23514', $q$
    update sits set completed_at = started_at + interval '100 days' where id = quick_check.id(510) $q$), 'a sit may be long';
  update sits set status = 'completed', is_completed = true, completed_at = now() where id = quick_check.id(510);
  update sits set completed_at = now() - interval '1 minute' where id = quick_check.id(510);
  perform quick_check.become('lastseen_service');
  update sits set started_at = started_at - interval '10 minutes' where id = quick_check.id(510);
  perform quick_check.become('authenticated', 2);
  assert (select count(*) = 2 from partnership_members where partnership_id = quick_check.id(500));
  assert (select sits_completed = 1 and seconds = 600 from sit_weeks where partnership_id = quick_check.id(500)), 'sit_weeks';
  assert (select sits_completed = 1 and seconds = 600 from sit_weeks_of(quick_check.id(500), 'Europe/Vienna')), 'sit_weeks_of';
  perform quick_check.become('authenticated', 3);
  assert not exists (select from sits where id = quick_check.id(510)), 'sits are seen by others';
  assert not exists (select from partnerships where id = quick_check.id(500)), 'partnerships are seen by others';

  perform quick_check.become('lastseen_service');
  insert into sits (id, user_id, sit_length_seconds, started_at)
  values (quick_check.id(511), quick_check.id(1), 1, quick_check.long_ago());
  assert abandon_overdue_sits('900 years') = 1, 'abandon_overdue_sits';
  insert into reading_sessions (id) values (quick_check.id(110));
  assert (lastseen.start_room_sit(quick_check.id(171), quick_check.id(110), null, 60, 'quick check')).status = 'open';
  assert lastseen.finish_room_sit(quick_check.id(171), array[quick_check.id(512)], array[quick_check.id(1)], array[now()]);
  assert (select status = 'completed' from sits where id = quick_check.id(512)), 'finish_room_sit';
end
$try$;

-- Simulators.
create or replace function pg_temp.lastseen_try_simulators() returns void
language plpgsql set plpgsql.check_asserts = on
as $try$
begin
  perform quick_check.become('lastseen_service');
  insert into user_sessions (id, user_id, session_id, platform, last_activity_at)
  values (quick_check.id(310), quick_check.id(1), 'quick check 3', 'web', quick_check.long_ago());
  assert lastseen.make_simulator(quick_check.id(600), quick_check.id(310), '["AAPL"]', 1, 'quick check', 'process', 1) = 'made';
  assert quick_check.fails_with('23505', $q$
    select lastseen.make_simulator(quick_check.id(601), quick_check.id(310), '[]', 1, 'quick check', 'process', 2) $q$),
    'a session has two simulators';
  perform quick_check.become('authenticated', 2);
  assert not exists (select from simulators where id = quick_check.id(600)), 'simulators are seen by others';
  assert quick_check.fails_with('42501', 'select handle from simulators');
  perform quick_check.become('authenticated', 1);
  assert exists (select id from simulators where id = quick_check.id(600));

  perform quick_check.become('lastseen_service');
  update simulators set last_active = quick_check.long_ago() where id = quick_check.id(600);
  assert exists (select from inactive_simulators where id = quick_check.id(600)), 'inactive_simulators';
  assert (select count(*) = 1 from stop_inactive_simulators('900 years')), 'stop_inactive_simulators';
  update simulators set status = 'CREATING' where id = quick_check.id(600);
  assert lastseen.stop_simulators_of_node('quick check') = 1, 'stop_simulators_of_node';
  update simulators set status = 'CREATING' where id = quick_check.id(600);
  update user_sessions set expires_at = now() where id = quick_check.id(310);
  assert (select count(*) >= 1 from stop_simulators_of_ended_sessions()), 'stop_simulators_of_ended_sessions';
end
$try$;

-- The past.
create or replace function pg_temp.lastseen_try_analytics() returns void
language plpgsql set plpgsql.check_asserts = on
as $try$
begin
  perform quick_check.become('lastseen_service');
  insert into reading_sessions (id) values (quick_check.id(120));
  insert into user_sessions (user_id, session_id, platform) values (quick_check.id(1), 'quick check 5', 'web');
  assert (select sessions >= 1 from session_analytics(1)), 'session_analytics';
  assert (select count(*) = 24 from peak_hours(1, 'Europe/Vienna')), 'peak_hours';
  assert (select users >= 1 from returning_users(1)), 'returning_users';

  perform quick_check.become('lastseen_monitor');
  assert exists (select from session_stats where id = quick_check.id(120)), 'monitors see no sessions';
  assert exists (select from connection_statistics where session_id = 'quick check 5'), 'connection_statistics';
  assert (select sessions >= 1 from session_analytics(1)), 'monitors see no figures';
  assert quick_check.fails_with('42501', 'update reading_sessions set title = null'), 'monitors can write';
end
$try$;

-- Subjects: whose the id of a user is.
create or replace function pg_temp.lastseen_try_subjects() returns void
language plpgsql set plpgsql.check_asserts = on
as $try$
declare
  made constant uuid := 'c4ec0000-0000-5000-8000-000000000001';
begin
  perform quick_check.become('lastseen_service');
  for n in 1 .. 2 loop
    perform lastseen.note_subjects(array[made, quick_check.id(1)], array['quick check', null]);
  end loop;
  assert lastseen.subject_of(made) = 'quick check';
  assert lastseen.subjects_of(array[quick_check.id(1), made]) = array[quick_check.id(1)::text, 'quick check'];
  perform quick_check.become('authenticated', 1);
  assert lastseen.subject_of(made) = 'quick check', 'a user may ask whose an id is';
  assert quick_check.fails_with('42501', 'select from lastseen.subjects'), 'and reads no list';
  assert quick_check.fails_with('42501', 'select lastseen.note_subjects(null, null)');
end
$try$;

-- Nobody without claims sees anything.
create or replace function pg_temp.lastseen_try_strangers() returns void
language plpgsql set plpgsql.check_asserts = on
as $try$
declare
  closed record;
begin
  perform quick_check.become('lastseen_service');
  insert into reading_sessions (id) values (quick_check.id(130));
  perform quick_check.become('anon');
  for closed in
    select c.oid::regclass::text as name, has_any_column_privilege('anon', c.oid, 'select') as open from pg_class as c
    where c.relkind = 'r' and exists (select from pg_policy as p where p.polrelid = c.oid and p.polname = 'service_does_all')
  loop
    assert not closed.open and quick_check.fails_with('42501', format('select from %s', closed.name)),
      closed.name || ' is open to everybody';
  end loop;
  perform quick_check.become('authenticated');
  assert not exists (select from reading_sessions where id = quick_check.id(130)), 'without claims reading sessions are seen';
end
$try$;

-- 6. What there has to be: written by the test of it, see above.

create or replace function pg_temp.lastseen_wanted() returns text
language plpgsql
as $wanted$
begin
  return $facts$
column | lastseen.migrations.applied_at | timestamp with time zone not null default now()
column | lastseen.migrations.applied_by | text not null
column | lastseen.migrations.file | text not null
column | lastseen.migrations.objects | text[] not null default '{}'::text[]
column | lastseen.migrations.sha256 | bytea not null
column | lastseen.subjects.created_at | timestamp with time zone not null default now()
column | lastseen.subjects.subject | text not null
column | lastseen.subjects.user_id | uuid not null
column | public.check_ins.checked_in_at | timestamp with time zone not null default now()
column | public.check_ins.checked_out_at | timestamp with time zone
column | public.check_ins.created_at | timestamp with time zone not null default now()
column | public.check_ins.expires_at | timestamp with time zone not null default (now() + '01:00:00'::interval)
column | public.check_ins.extended_at | timestamp with time zone
column | public.check_ins.extension_count | integer not null default 0
column | public.check_ins.id | uuid not null default gen_random_uuid()
column | public.check_ins.name | text
column | public.check_ins.status | text not null default 'active'::text
column | public.check_ins.user_id | uuid not null
column | public.partnership_members.partnership_id | uuid not null
column | public.partnership_members.user_id | uuid not null
column | public.partnerships.created_at | timestamp with time zone not null default now()
column | public.partnerships.id | uuid not null default gen_random_uuid()
column | public.partnerships.user_ids | uuid[] not null default '{}'::uuid[]
column | public.reading_sessions.close_reason | text
column | public.reading_sessions.closed_at | timestamp with time zone
column | public.reading_sessions.created_at | timestamp with time zone not null default now()
column | public.reading_sessions.host_user_id | uuid
column | public.reading_sessions.id | uuid not null default gen_random_uuid()
column | public.reading_sessions.is_active | boolean not null default true
column | public.reading_sessions.last_activity_at | timestamp with time zone not null default now()
column | public.reading_sessions.last_seen_at | timestamp with time zone not null default now()
column | public.reading_sessions.max_participants | integer not null default 100
column | public.reading_sessions.title | text
column | public.reading_sessions.updated_at | timestamp with time zone not null default now()
column | public.room_sits.ended_at | timestamp with time zone
column | public.room_sits.ends_at | timestamp with time zone not null
column | public.room_sits.id | uuid not null default gen_random_uuid()
column | public.room_sits.node | text
column | public.room_sits.session_id | uuid not null
column | public.room_sits.sit_length_seconds | integer not null
column | public.room_sits.started_at | timestamp with time zone not null default now()
column | public.room_sits.started_by | uuid
column | public.room_sits.status | text not null default 'open'::text
column | public.session_invites.created_at | timestamp with time zone not null default now()
column | public.session_invites.created_by | uuid
column | public.session_invites.expires_at | timestamp with time zone
column | public.session_invites.id | uuid not null default gen_random_uuid()
column | public.session_invites.max_uses | integer
column | public.session_invites.revoked_at | timestamp with time zone
column | public.session_invites.role | text not null default 'guest'::text
column | public.session_invites.session_id | uuid not null
column | public.session_invites.token_sha256 | bytea not null
column | public.session_invites.uses | integer not null default 0
column | public.session_participants.id | uuid not null default gen_random_uuid()
column | public.session_participants.invite_id | uuid
column | public.session_participants.is_active | boolean not null default false
column | public.session_participants.joined_at | timestamp with time zone not null default now()
column | public.session_participants.last_activity_at | timestamp with time zone not null default now()
column | public.session_participants.last_seen_at | timestamp with time zone not null default now()
column | public.session_participants.leave_reason | text
column | public.session_participants.left_at | timestamp with time zone
column | public.session_participants.name | text
column | public.session_participants.node | text
column | public.session_participants.resume_generation | integer not null default 0
column | public.session_participants.role | text not null default 'participant'::text
column | public.session_participants.session_id | uuid not null
column | public.session_participants.state | jsonb not null default '{}'::jsonb
column | public.session_participants.state_at | timestamp with time zone
column | public.session_participants.state_node | text
column | public.session_participants.user_id | uuid
column | public.simulators.created_at | timestamp with time zone not null default now()
column | public.simulators.endpoint | text
column | public.simulators.erase_when_stopped | boolean not null default false
column | public.simulators.error | text
column | public.simulators.handle | jsonb
column | public.simulators.id | uuid not null default gen_random_uuid()
column | public.simulators.initial_cash | double precision not null default 100000.0
column | public.simulators.initial_symbols | jsonb not null default '[]'::jsonb
column | public.simulators.last_active | timestamp with time zone not null default now()
column | public.simulators.launcher | text not null
column | public.simulators.moved_at | timestamp with time zone not null default now()
column | public.simulators.node | text not null
column | public.simulators.status | text not null default 'CREATING'::text
column | public.simulators.stopped_at | timestamp with time zone
column | public.simulators.user_id | uuid not null
column | public.simulators.user_session_id | uuid not null
column | public.sits.completed_at | timestamp with time zone
column | public.sits.created_at | timestamp with time zone not null default now()
column | public.sits.duration_seconds | bigint generated always as ( CASE WHEN (isfinite(completed_at) AND isfinite(started_at)) THEN (round(GREATEST(EXTRACT(epoch FROM (completed_at - started_at)), (0)::numeric)))::bigint ELSE NULL::bigint END) stored
column | public.sits.id | uuid not null default gen_random_uuid()
column | public.sits.is_completed | boolean not null default false
column | public.sits.partnership_id | uuid
column | public.sits.room_sit_id | uuid
column | public.sits.sit_length_seconds | integer not null
column | public.sits.started_at | timestamp with time zone not null default now()
column | public.sits.status | text not null default 'open'::text
column | public.sits.user_id | uuid not null
column | public.user_sessions.activity_count | bigint not null default 0
column | public.user_sessions.connection_quality | text
column | public.user_sessions.created_at | timestamp with time zone not null default now()
column | public.user_sessions.device_info | jsonb not null default '{}'::jsonb
column | public.user_sessions.end_reason | text
column | public.user_sessions.ended_at | timestamp with time zone
column | public.user_sessions.expires_at | timestamp with time zone not null default (now() + '01:00:00'::interval)
column | public.user_sessions.expires_not_before | timestamp with time zone not null generated always as (date_bin('00:30:00'::interval, expires_at, '2000-01-01 00:00:00+00'::timestamp with time zone)) stored
column | public.user_sessions.frontend_connections | integer not null default 0
column | public.user_sessions.id | uuid not null default gen_random_uuid()
column | public.user_sessions.ip_address | inet
column | public.user_sessions.last_activity_at | timestamp with time zone not null default now()
column | public.user_sessions.last_heartbeat_at | timestamp with time zone not null default now()
column | public.user_sessions.last_ws_connection | timestamp with time zone
column | public.user_sessions.location_info | jsonb not null default '{}'::jsonb
column | public.user_sessions.metadata | jsonb not null default '{}'::jsonb
column | public.user_sessions.node | text
column | public.user_sessions.platform | text not null
column | public.user_sessions.session_id | text not null
column | public.user_sessions.sse_connections | integer not null default 0
column | public.user_sessions.started_at | timestamp with time zone not null default now()
column | public.user_sessions.status | text not null default 'active'::text
column | public.user_sessions.total_duration_seconds | bigint
column | public.user_sessions.updated_at | timestamp with time zone not null default now()
column | public.user_sessions.user_agent | text
column | public.user_sessions.user_id | uuid not null
constraint | address_is_masked on public.user_sessions | CHECK (((ip_address = (network(ip_address))::inet) AND (masklen(ip_address) <= CASE family(ip_address) WHEN 4 THEN 24 ELSE 48 END)))
constraint | an_error_has_a_message on public.simulators | CHECK (((status = 'ERROR'::text) = (error IS NOT NULL)))
constraint | check_ins_extension_count_check on public.check_ins | CHECK ((extension_count >= 0))
constraint | check_ins_name_check on public.check_ins | CHECK (((char_length(name) >= 1) AND (char_length(name) <= 80)))
constraint | check_ins_pkey on public.check_ins | PRIMARY KEY (id)
constraint | check_ins_status_check on public.check_ins | CHECK ((status = ANY (ARRAY['active'::text, 'inactive'::text])))
constraint | closed_for_a_reason on public.reading_sessions | CHECK (((closed_at IS NULL) = (close_reason IS NULL)))
constraint | completed_at_a_time on public.sits | CHECK ((is_completed = (completed_at IS NOT NULL)))
constraint | completed_is_a_status on public.sits | CHECK ((is_completed = (status = 'completed'::text)))
constraint | counts_are_bounded on public.user_sessions | CHECK (((total_duration_seconds <= '1000000000000'::bigint) AND (activity_count <= '1000000000000000'::bigint) AND (frontend_connections <= 1000000) AND (sse_connections <= 1000000)))
constraint | ended_for_a_reason on public.user_sessions | CHECK (((ended_at IS NULL) = (end_reason IS NULL)))
constraint | ended_with_a_duration on public.user_sessions | CHECK (((ended_at IS NULL) = (total_duration_seconds IS NULL)))
constraint | extended_at_a_time on public.check_ins | CHECK (((extension_count = 0) = (extended_at IS NULL)))
constraint | inactive_when_checked_out on public.check_ins | CHECK (((status = 'inactive'::text) = (checked_out_at IS NOT NULL)))
constraint | left_for_a_reason on public.session_participants | CHECK (((left_at IS NULL) = (leave_reason IS NULL)))
constraint | migrations_pkey on lastseen.migrations | PRIMARY KEY (file)
constraint | objects_are_bounded on public.user_sessions | CHECK (((pg_column_size(device_info) <= 262144) AND (pg_column_size(location_info) <= 262144) AND (pg_column_size(metadata) <= 262144)))
constraint | one_participant_a_user on public.session_participants | UNIQUE (session_id, user_id)
constraint | open_until_closed on public.reading_sessions | CHECK ((is_active = (closed_at IS NULL)))
constraint | open_until_ended on public.room_sits | CHECK (((status = 'open'::text) = (ended_at IS NULL)))
constraint | over_when_ended on public.user_sessions | CHECK (((status = ANY (ARRAY['ended'::text, 'timeout'::text])) = (ended_at IS NOT NULL)))
constraint | over_when_stopped on public.simulators | CHECK (((status = ANY (ARRAY['STOPPED'::text, 'ERROR'::text])) = (stopped_at IS NOT NULL)))
constraint | partnership_members_partnership_id_fkey on public.partnership_members | FOREIGN KEY (partnership_id) REFERENCES public.partnerships(id) ON DELETE CASCADE
constraint | partnership_members_pkey on public.partnership_members | PRIMARY KEY (partnership_id, user_id)
constraint | partnerships_pkey on public.partnerships | PRIMARY KEY (id)
constraint | present_or_left on public.session_participants | CHECK ((NOT (is_active AND (left_at IS NOT NULL))))
constraint | reading_sessions_close_reason_check on public.reading_sessions | CHECK ((close_reason = ANY (ARRAY['idle'::text, 'host'::text, 'admin'::text, 'expired'::text])))
constraint | reading_sessions_max_participants_check on public.reading_sessions | CHECK (((max_participants >= 1) AND (max_participants <= 100000)))
constraint | reading_sessions_pkey on public.reading_sessions | PRIMARY KEY (id)
constraint | reading_sessions_title_check on public.reading_sessions | CHECK (((char_length(title) >= 1) AND (char_length(title) <= 200)))
constraint | room_sits_pkey on public.room_sits | PRIMARY KEY (id)
constraint | room_sits_session_id_fkey on public.room_sits | FOREIGN KEY (session_id) REFERENCES public.reading_sessions(id) ON DELETE CASCADE
constraint | room_sits_sit_length_seconds_check on public.room_sits | CHECK (((sit_length_seconds >= 1) AND (sit_length_seconds <= 86400)))
constraint | room_sits_started_by_fkey on public.room_sits | FOREIGN KEY (started_by) REFERENCES public.session_participants(id) ON DELETE SET NULL
constraint | room_sits_status_check on public.room_sits | CHECK ((status = ANY (ARRAY['open'::text, 'completed'::text, 'abandoned'::text])))
constraint | running_somewhere on public.simulators | CHECK (((status <> 'RUNNING'::text) OR (endpoint IS NOT NULL)))
constraint | session_invites_max_uses_check on public.session_invites | CHECK ((max_uses > 0))
constraint | session_invites_pkey on public.session_invites | PRIMARY KEY (id)
constraint | session_invites_role_check on public.session_invites | CHECK ((role = ANY (ARRAY['host'::text, 'participant'::text, 'guest'::text])))
constraint | session_invites_session_id_fkey on public.session_invites | FOREIGN KEY (session_id) REFERENCES public.reading_sessions(id) ON DELETE CASCADE
constraint | session_invites_token_sha256_check on public.session_invites | CHECK ((octet_length(token_sha256) = 32))
constraint | session_invites_token_sha256_key on public.session_invites | UNIQUE (token_sha256)
constraint | session_invites_uses_check on public.session_invites | CHECK ((uses >= 0))
constraint | session_participants_leave_reason_check on public.session_participants | CHECK ((leave_reason = ANY (ARRAY['left'::text, 'timeout'::text, 'removed'::text, 'closed'::text])))
constraint | session_participants_name_check on public.session_participants | CHECK (((char_length(name) >= 1) AND (char_length(name) <= 80)))
constraint | session_participants_pkey on public.session_participants | PRIMARY KEY (id)
constraint | session_participants_role_check on public.session_participants | CHECK ((role = ANY (ARRAY['host'::text, 'participant'::text, 'guest'::text])))
constraint | session_participants_session_id_fkey on public.session_participants | FOREIGN KEY (session_id) REFERENCES public.reading_sessions(id) ON DELETE CASCADE
constraint | session_participants_state_check on public.session_participants | CHECK ((jsonb_typeof(state) = 'object'::text))
constraint | simulators_handle_check on public.simulators | CHECK ((jsonb_typeof(handle) = 'object'::text))
constraint | simulators_initial_cash_check on public.simulators | CHECK (((initial_cash >= (0)::double precision) AND (initial_cash < 'Infinity'::double precision)))
constraint | simulators_initial_symbols_check on public.simulators | CHECK ( CASE WHEN (jsonb_typeof(initial_symbols) = 'array'::text) THEN (jsonb_array_length(initial_symbols) <= 50) ELSE false END)
constraint | simulators_launcher_check on public.simulators | CHECK ((launcher = ANY (ARRAY['process'::text, 'kubernetes'::text])))
constraint | simulators_pkey on public.simulators | PRIMARY KEY (id)
constraint | simulators_status_check on public.simulators | CHECK ((status = ANY (ARRAY['CREATING'::text, 'STARTING'::text, 'RUNNING'::text, 'STOPPING'::text, 'STOPPED'::text, 'ERROR'::text])))
constraint | simulators_user_session_id_fkey on public.simulators | FOREIGN KEY (user_session_id) REFERENCES public.user_sessions(id) ON DELETE CASCADE
constraint | sits_partnership_id_fkey on public.sits | FOREIGN KEY (partnership_id) REFERENCES public.partnerships(id) ON DELETE SET NULL
constraint | sits_pkey on public.sits | PRIMARY KEY (id)
constraint | sits_room_sit_id_fkey on public.sits | FOREIGN KEY (room_sit_id) REFERENCES public.room_sits(id) ON DELETE SET NULL
constraint | sits_sit_length_seconds_check on public.sits | CHECK ((sit_length_seconds > 0))
constraint | sits_status_check on public.sits | CHECK ((status = ANY (ARRAY['open'::text, 'completed'::text, 'abandoned'::text])))
constraint | subjects_pkey on lastseen.subjects | PRIMARY KEY (user_id)
constraint | subjects_subject_check on lastseen.subjects | CHECK (((char_length(subject) >= 1) AND (char_length(subject) <= 255)))
constraint | subjects_subject_key on lastseen.subjects | UNIQUE (subject)
constraint | times_are_bounded on public.check_ins | CHECK ((((checked_in_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (checked_in_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((expires_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (expires_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((checked_out_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (checked_out_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((created_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (created_at <= '9999-12-31 00:00:00+00'::timestamp with time zone))))
constraint | times_are_bounded on public.sits | CHECK ((((started_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (started_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((completed_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (completed_at <= '9999-12-31 00:00:00+00'::timestamp with time zone))))
constraint | times_are_bounded on public.user_sessions | CHECK ((((started_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (started_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((last_activity_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (last_activity_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((last_heartbeat_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (last_heartbeat_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((expires_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (expires_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((ended_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (ended_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((last_ws_connection >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (last_ws_connection <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((created_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (created_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)) AND ((updated_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (updated_at <= '9999-12-31 00:00:00+00'::timestamp with time zone))))
constraint | user_sessions_activity_count_check on public.user_sessions | CHECK ((activity_count >= 0))
constraint | user_sessions_connection_quality_check on public.user_sessions | CHECK ((connection_quality = ANY (ARRAY['good'::text, 'degraded'::text, 'poor'::text])))
constraint | user_sessions_device_info_check on public.user_sessions | CHECK ((jsonb_typeof(device_info) = 'object'::text))
constraint | user_sessions_end_reason_check on public.user_sessions | CHECK ((end_reason = ANY (ARRAY['logout'::text, 'timeout'::text, 'manual'::text, 'app_close'::text, 'crash'::text])))
constraint | user_sessions_frontend_connections_check on public.user_sessions | CHECK ((frontend_connections >= 0))
constraint | user_sessions_location_info_check on public.user_sessions | CHECK ((jsonb_typeof(location_info) = 'object'::text))
constraint | user_sessions_metadata_check on public.user_sessions | CHECK ((jsonb_typeof(metadata) = 'object'::text))
constraint | user_sessions_pkey on public.user_sessions | PRIMARY KEY (id)
constraint | user_sessions_platform_check on public.user_sessions | CHECK ((platform = ANY (ARRAY['web'::text, 'ios-external'::text, 'ios-internal'::text, 'ios-widget'::text, 'macos-internal'::text])))
constraint | user_sessions_session_id_check on public.user_sessions | CHECK (((char_length(session_id) >= 1) AND (char_length(session_id) <= 128)))
constraint | user_sessions_session_id_key on public.user_sessions | UNIQUE (session_id)
constraint | user_sessions_sse_connections_check on public.user_sessions | CHECK ((sse_connections >= 0))
constraint | user_sessions_status_check on public.user_sessions | CHECK ((status = ANY (ARRAY['active'::text, 'idle'::text, 'reconnecting'::text, 'ended'::text, 'timeout'::text])))
constraint | user_sessions_total_duration_seconds_check on public.user_sessions | CHECK ((total_duration_seconds >= 0))
constraint | user_sessions_user_agent_check on public.user_sessions | CHECK ((char_length(user_agent) <= 512))
function | lastseen.abandon_sit_of_closed_session() | () returns trigger plpgsql volatile set search_path="" body b0e2484496a06aed
function | lastseen.admit(uuid,uuid,integer,uuid,bytea,text,interval,text,text,uuid) | (session uuid, resume_participant uuid, resume_generation integer, caller uuid, invite_sha256 bytea, display_name text, idle interval, counts text, node text, new_id uuid) returns lastseen.admission plpgsql volatile set search_path="" body f2d4064cb6eb3ed3
function | lastseen.alone_since(uuid[]) | (sessions uuid[]) returns TABLE(session_id uuid, since timestamp with time zone) sql stable set search_path="" body ebc761bceaf0361f
function | lastseen.can_be_seen(text) | (said text) returns boolean sql immutable strict set search_path="" body 8c672c25d4ba9ae7
function | lastseen.close_session(uuid,text) | (session uuid, reason text) returns SETOF public.reading_sessions sql volatile set search_path="" body c3789cea4f7e8429
function | lastseen.close_sessions(uuid[],text) | (sessions uuid[], reason text) returns SETOF public.reading_sessions plpgsql volatile set search_path="" body 45e865b790d9b6c3
function | lastseen.display_name(text) | (said text) returns text plpgsql immutable set search_path="" body b238092810e3dc2e
function | lastseen.erase_stopped_simulator() | () returns trigger plpgsql volatile set search_path="" body 0a4e3142fd5be929
function | lastseen.finish_room_sit(uuid,uuid[],uuid[],timestamp with time zone[]) | (room_sit uuid, new_ids uuid[], users uuid[], came_at timestamp with time zone[]) returns boolean plpgsql volatile set search_path="", lock_timeout=1s body 2e99133e4f7e1dae
function | lastseen.give_back(uuid,uuid) | (participant uuid, invite uuid) returns boolean plpgsql volatile set search_path="" body fbc7007122d488f6
function | lastseen.inspect_invite(bytea,interval,text) | (token_sha256 bytea, idle interval, counts text) returns TABLE(verdict text, detail text, session_id uuid, title text, invite_expires_at timestamp with time zone, role text, session_expires_at timestamp with time zone) sql stable set search_path="" body 785fe375327879f3
function | lastseen.invite_fault(public.session_invites,public.reading_sessions,interval,lastseen.idle_counts) | (invite public.session_invites, session public.reading_sessions, idle interval, counts lastseen.idle_counts) returns text plpgsql stable set search_path="" body f6b10e69ef2caa6d
function | lastseen.keep_check_in() | () returns trigger plpgsql volatile set search_path="" body a37579028bce5518
function | lastseen.keep_new_check_in() | () returns trigger plpgsql volatile set search_path="" body 93b8e89b710c01ca
function | lastseen.keep_new_sit() | () returns trigger plpgsql volatile set search_path="" body 008d342d5100e152
function | lastseen.keep_objects() | () returns trigger plpgsql volatile set search_path="" body 253a6cba66653ea9
function | lastseen.keep_sit() | () returns trigger plpgsql volatile set search_path="" body c6c509a9910681fd
function | lastseen.keep_user_session() | () returns trigger plpgsql volatile set search_path="" body c0124063627060dd
function | lastseen.make_simulator(uuid,uuid,jsonb,double precision,text,text,integer) | (new_id uuid, user_session uuid, symbols jsonb, cash double precision, node text, launcher text, capacity integer) returns text plpgsql volatile set search_path="" body c00dfda24c8b4d06
function | lastseen.note_extension() | () returns trigger plpgsql volatile set search_path="" body 27526d731d306b56
function | lastseen.note_partnership_members() | () returns trigger plpgsql volatile set search_path="" body 98d495b6095a368f
function | lastseen.note_subjects(uuid[],text[]) | (ids uuid[], names text[]) returns void sql volatile set search_path="" body 80ad34aee2172214
function | lastseen.open_user_session(uuid,uuid,text,text,jsonb,jsonb,jsonb,text,inet,text,interval,interval) | (new_id uuid, caller uuid, client_session text, on_platform text, device jsonb, location jsonb, data jsonb, agent text, address inet, holder text, ago interval, timeout interval) returns TABLE(verdict text, found_id uuid) plpgsql volatile set search_path="" body d448a3c6147419d8
function | lastseen.plausible(text,timestamp with time zone,timestamp with time zone,timestamp with time zone) | (what text, said timestamp with time zone, earliest timestamp with time zone, latest timestamp with time zone) returns timestamp with time zone plpgsql stable set search_path="" body d70a6b8be3f9bd0e
function | lastseen.purge_user_sessions(interval,integer) | (older_than interval, at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="", lock_timeout=1s body 2d96205028d322a2
function | lastseen.readmit_participant(uuid,uuid) | (session uuid, participant uuid) returns boolean sql volatile set search_path="" body 89ec57a1a6d7a777
function | lastseen.record_room_sit(public.room_sits,uuid[],uuid[],timestamp with time zone[]) | (over public.room_sits, new_ids uuid[], users uuid[], came_at timestamp with time zone[]) returns void sql volatile set search_path="" body 04863d8e8ce30f5b
function | lastseen.reference_auth_users() | () returns integer plpgsql volatile set search_path="" body c6499a6ee5c5b4df
function | lastseen.refusal(text,text) | (verdict text, detail text DEFAULT NULL::text) returns lastseen.admission plpgsql immutable set search_path="" body 18ee24f3116117f1
function | lastseen.remove_participant(uuid,uuid) | (session uuid, participant uuid) returns boolean sql volatile set search_path="" body 365fa7e5f69a4be4
function | lastseen.revoke_invite_of(uuid,uuid) | (session uuid, participant uuid) returns boolean sql volatile set search_path="" body 3612f180e21f3ce5
function | lastseen.settle_silent_user_sessions(text,interval,integer) | (node text, silent_for interval, at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="" body 7f25a9491d2dfd2f
function | lastseen.settle_strangers(text,interval,integer) | (node text, stale interval, at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="" body e4a8fae5aab89a50
function | lastseen.settle_user_sessions(text,integer) | (node text, at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="" body 9792a6c8775a9737
function | lastseen.signs_of_life(uuid[],lastseen.idle_counts) | (sessions uuid[], counts lastseen.idle_counts) returns TABLE(session_id uuid, last_seen_at timestamp with time zone, last_activity_at timestamp with time zone, kept_open_at timestamp with time zone) sql stable set search_path="" body e6cdf4ec0f232690
function | lastseen.start_room_sit(uuid,uuid,uuid,integer,text) | (new_id uuid, session uuid, starter uuid, length_seconds integer, node text) returns public.room_sits plpgsql volatile set search_path="" body ad20145fb3cb6ed0
function | lastseen.stop_simulators_of_node(text,integer) | (node text, at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="" body 389908618d36b3a1
function | lastseen.stored_subject(uuid) | (id uuid) returns text sql stable security definer, of lastseen_definer set search_path="" body d95a21ced012ee2e
function | lastseen.subject_of(uuid) | (id uuid) returns text sql stable body 3d5c761dc4c4ed14
function | lastseen.subjects_of(uuid[]) | (ids uuid[]) returns text[] sql stable set search_path="" body 6d1c5f54d81e8613
function | lastseen.time_out_user_sessions(interval,integer) | (silent_for interval DEFAULT NULL::interval, at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="", lock_timeout=1s body c81264c98aa0d139
function | lastseen.undisturbed_sessions(uuid[],boolean) | (sessions uuid[], only_present boolean) returns uuid[] sql volatile set search_path="" body 4aa6fdda38f9c03e
function | lastseen.withdraw_admissions(uuid[],uuid[],uuid[],uuid[],bytea[],text) | (sessions uuid[], new_ids uuid[], resume_participants uuid[], callers uuid[], invite_hashes bytea[], node text) returns SETOF uuid plpgsql volatile set search_path="" body 52622711da0e3da2
function | public.abandon_overdue_sits(interval,integer) | (grace interval DEFAULT '00:05:00'::interval, at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="", lock_timeout=1s body bbe8964cbf7fa6e2
function | public.calculate_session_duration(timestamp with time zone,timestamp with time zone) | (session_start timestamp with time zone, session_end timestamp with time zone DEFAULT now()) returns bigint sql immutable set search_path="" body 0c1671f40fb43886
function | public.check_session_expiry(uuid,interval,text) | (session uuid, idle interval DEFAULT '01:00:00'::interval, counts text DEFAULT 'seen'::text) returns TABLE(expired boolean, last_seen_at timestamp with time zone, expires_at timestamp with time zone, minutes_until_expiry integer) sql stable set search_path="" body 4e307d3f37931a74
function | public.cleanup_inactive_sessions(interval,text,integer) | (idle interval DEFAULT '01:00:00'::interval, counts text DEFAULT 'seen'::text, at_most integer DEFAULT NULL::integer) returns SETOF public.reading_sessions plpgsql volatile set search_path="", lock_timeout=1s body 52190c8abfade78d
function | public.cleanup_old_check_ins(interval,integer) | (older_than interval DEFAULT '7 days'::interval, at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="", lock_timeout=1s body 08714b6ae1ca7e8a
function | public.cleanup_old_sessions(integer) | (days_old integer DEFAULT 90) returns bigint sql volatile set search_path="" body 14b1584007364561
function | public.close_aged_sessions(interval,integer) | (older_than interval DEFAULT '24:00:00'::interval, at_most integer DEFAULT NULL::integer) returns SETOF public.reading_sessions plpgsql volatile set search_path="", lock_timeout=1s body b119b1b1e7fcb7e3
function | public.close_lonely_sessions(interval,integer) | (alone_for interval, at_most integer DEFAULT NULL::integer) returns SETOF public.reading_sessions plpgsql volatile set search_path="", lock_timeout=1s body e34247b2c80c0e1f
function | public.end_inactive_sessions(integer) | (timeout_minutes integer DEFAULT 60) returns bigint sql volatile set search_path="" body 6e87d48ad4509650
function | public.erase_user(uuid) | (person uuid) returns TABLE(participants bigint, user_sessions bigint, check_ins bigint, sits bigint, partnership_memberships bigint, partnerships bigint, simulators bigint, simulators_stopping bigint, sessions_hosted bigint, invites_created bigint) plpgsql volatile set search_path="", lock_timeout=1s body 27a6a51de1932187
function | public.expire_user_sessions(integer) | (at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="" body 944e07f79f096173
function | public.export_user(uuid) | (person uuid) returns jsonb sql stable set search_path="", TimeZone=UTC body 08bafea16bdcec8f
function | public.is_participant(uuid) | (session uuid) returns boolean sql stable security definer, of lastseen_definer set search_path="" body 5b1432973afb0ac6
function | public.peak_hours(integer,text) | (days integer DEFAULT 7, time_zone text DEFAULT 'UTC'::text) returns TABLE(hour integer, sessions bigint) sql stable set search_path="" body 73a7be014e8b7dcc
function | public.purge_closed_sessions(interval,integer) | (older_than interval DEFAULT '30 days'::interval, at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="", lock_timeout=1s body 46abe1ed32e89984
function | public.purge_sits(interval,integer) | (older_than interval DEFAULT '365 days'::interval, at_most integer DEFAULT NULL::integer) returns bigint sql volatile set search_path="", lock_timeout=1s body 188c9ab33a298897
function | public.returning_users(integer,text) | (days integer DEFAULT 7, time_zone text DEFAULT 'UTC'::text) returns TABLE(users bigint, next_day bigint, within_seven_days bigint, next_day_rate double precision, within_seven_days_rate double precision) sql stable set search_path="", work_mem=32MB body ed0129336bd903fe
function | public.session_analytics(integer) | (days integer DEFAULT 7) returns TABLE(sessions bigint, average_seconds double precision, median_seconds double precision, average_participants double precision) sql stable set search_path="" body e25955dc3eaaf700
function | public.sit_weeks_of(uuid,text) | (partnership uuid, time_zone text DEFAULT 'UTC'::text) returns TABLE(user_id uuid, iso_week text, week_starts_on date, sits_completed bigint, seconds bigint) sql stable set search_path="" body 918e41104eb9a1e8
function | public.stop_inactive_simulators(interval) | (idle interval DEFAULT '01:00:00'::interval) returns SETOF public.simulators sql volatile set search_path="" body 8049fc9cfe55be9e
function | public.stop_simulators_of_ended_sessions() | () returns SETOF public.simulators sql volatile set search_path="" body 995a9d7bbbda42a9
grant | function lastseen.admit(uuid,uuid,integer,uuid,bytea,text,interval,text,text,uuid) to lastseen_service | execute
grant | function lastseen.admit(uuid,uuid,integer,uuid,bytea,text,interval,text,text,uuid) to service_role | execute
grant | function lastseen.alone_since(uuid[]) to lastseen_service | execute
grant | function lastseen.alone_since(uuid[]) to service_role | execute
grant | function lastseen.can_be_seen(text) to authenticated | execute
grant | function lastseen.can_be_seen(text) to lastseen_service | execute
grant | function lastseen.can_be_seen(text) to service_role | execute
grant | function lastseen.close_session(uuid,text) to lastseen_service | execute
grant | function lastseen.close_session(uuid,text) to service_role | execute
grant | function lastseen.close_sessions(uuid[],text) to lastseen_service | execute
grant | function lastseen.close_sessions(uuid[],text) to service_role | execute
grant | function lastseen.display_name(text) to authenticated | execute
grant | function lastseen.display_name(text) to lastseen_service | execute
grant | function lastseen.display_name(text) to service_role | execute
grant | function lastseen.finish_room_sit(uuid,uuid[],uuid[],timestamp with time zone[]) to lastseen_service | execute
grant | function lastseen.finish_room_sit(uuid,uuid[],uuid[],timestamp with time zone[]) to service_role | execute
grant | function lastseen.give_back(uuid,uuid) to lastseen_service | execute
grant | function lastseen.give_back(uuid,uuid) to service_role | execute
grant | function lastseen.inspect_invite(bytea,interval,text) to lastseen_service | execute
grant | function lastseen.inspect_invite(bytea,interval,text) to service_role | execute
grant | function lastseen.invite_fault(public.session_invites,public.reading_sessions,interval,lastseen.idle_counts) to lastseen_service | execute
grant | function lastseen.invite_fault(public.session_invites,public.reading_sessions,interval,lastseen.idle_counts) to service_role | execute
grant | function lastseen.make_simulator(uuid,uuid,jsonb,double precision,text,text,integer) to lastseen_service | execute
grant | function lastseen.make_simulator(uuid,uuid,jsonb,double precision,text,text,integer) to service_role | execute
grant | function lastseen.note_subjects(uuid[],text[]) to lastseen_service | execute
grant | function lastseen.note_subjects(uuid[],text[]) to service_role | execute
grant | function lastseen.open_user_session(uuid,uuid,text,text,jsonb,jsonb,jsonb,text,inet,text,interval,interval) to authenticated | execute
grant | function lastseen.open_user_session(uuid,uuid,text,text,jsonb,jsonb,jsonb,text,inet,text,interval,interval) to lastseen_service | execute
grant | function lastseen.open_user_session(uuid,uuid,text,text,jsonb,jsonb,jsonb,text,inet,text,interval,interval) to service_role | execute
grant | function lastseen.plausible(text,timestamp with time zone,timestamp with time zone,timestamp with time zone) to authenticated | execute
grant | function lastseen.plausible(text,timestamp with time zone,timestamp with time zone,timestamp with time zone) to lastseen_service | execute
grant | function lastseen.plausible(text,timestamp with time zone,timestamp with time zone,timestamp with time zone) to service_role | execute
grant | function lastseen.purge_user_sessions(interval,integer) to lastseen_service | execute
grant | function lastseen.purge_user_sessions(interval,integer) to service_role | execute
grant | function lastseen.readmit_participant(uuid,uuid) to lastseen_service | execute
grant | function lastseen.readmit_participant(uuid,uuid) to service_role | execute
grant | function lastseen.record_room_sit(public.room_sits,uuid[],uuid[],timestamp with time zone[]) to lastseen_service | execute
grant | function lastseen.record_room_sit(public.room_sits,uuid[],uuid[],timestamp with time zone[]) to service_role | execute
grant | function lastseen.refusal(text,text) to lastseen_service | execute
grant | function lastseen.refusal(text,text) to service_role | execute
grant | function lastseen.remove_participant(uuid,uuid) to lastseen_service | execute
grant | function lastseen.remove_participant(uuid,uuid) to service_role | execute
grant | function lastseen.revoke_invite_of(uuid,uuid) to lastseen_service | execute
grant | function lastseen.revoke_invite_of(uuid,uuid) to service_role | execute
grant | function lastseen.settle_silent_user_sessions(text,interval,integer) to lastseen_service | execute
grant | function lastseen.settle_silent_user_sessions(text,interval,integer) to service_role | execute
grant | function lastseen.settle_strangers(text,interval,integer) to lastseen_service | execute
grant | function lastseen.settle_strangers(text,interval,integer) to service_role | execute
grant | function lastseen.settle_user_sessions(text,integer) to lastseen_service | execute
grant | function lastseen.settle_user_sessions(text,integer) to service_role | execute
grant | function lastseen.signs_of_life(uuid[],lastseen.idle_counts) to lastseen_monitor | execute
grant | function lastseen.signs_of_life(uuid[],lastseen.idle_counts) to lastseen_service | execute
grant | function lastseen.signs_of_life(uuid[],lastseen.idle_counts) to service_role | execute
grant | function lastseen.start_room_sit(uuid,uuid,uuid,integer,text) to lastseen_service | execute
grant | function lastseen.start_room_sit(uuid,uuid,uuid,integer,text) to service_role | execute
grant | function lastseen.stop_simulators_of_node(text,integer) to lastseen_service | execute
grant | function lastseen.stop_simulators_of_node(text,integer) to service_role | execute
grant | function lastseen.stored_subject(uuid) to authenticated | execute
grant | function lastseen.stored_subject(uuid) to lastseen_monitor | execute
grant | function lastseen.stored_subject(uuid) to lastseen_service | execute
grant | function lastseen.stored_subject(uuid) to service_role | execute
grant | function lastseen.subject_of(uuid) to authenticated | execute
grant | function lastseen.subject_of(uuid) to lastseen_monitor | execute
grant | function lastseen.subject_of(uuid) to lastseen_service | execute
grant | function lastseen.subject_of(uuid) to service_role | execute
grant | function lastseen.subjects_of(uuid[]) to authenticated | execute
grant | function lastseen.subjects_of(uuid[]) to lastseen_monitor | execute
grant | function lastseen.subjects_of(uuid[]) to lastseen_service | execute
grant | function lastseen.subjects_of(uuid[]) to service_role | execute
grant | function lastseen.time_out_user_sessions(interval,integer) to lastseen_service | execute
grant | function lastseen.time_out_user_sessions(interval,integer) to service_role | execute
grant | function lastseen.undisturbed_sessions(uuid[],boolean) to lastseen_service | execute
grant | function lastseen.undisturbed_sessions(uuid[],boolean) to service_role | execute
grant | function lastseen.withdraw_admissions(uuid[],uuid[],uuid[],uuid[],bytea[],text) to lastseen_service | execute
grant | function lastseen.withdraw_admissions(uuid[],uuid[],uuid[],uuid[],bytea[],text) to service_role | execute
grant | function public.abandon_overdue_sits(interval,integer) to lastseen_service | execute
grant | function public.abandon_overdue_sits(interval,integer) to service_role | execute
grant | function public.calculate_session_duration(timestamp with time zone,timestamp with time zone) to authenticated | execute
grant | function public.calculate_session_duration(timestamp with time zone,timestamp with time zone) to lastseen_monitor | execute
grant | function public.calculate_session_duration(timestamp with time zone,timestamp with time zone) to lastseen_service | execute
grant | function public.calculate_session_duration(timestamp with time zone,timestamp with time zone) to service_role | execute
grant | function public.check_session_expiry(uuid,interval,text) to lastseen_monitor | execute
grant | function public.check_session_expiry(uuid,interval,text) to lastseen_service | execute
grant | function public.check_session_expiry(uuid,interval,text) to service_role | execute
grant | function public.cleanup_inactive_sessions(interval,text,integer) to lastseen_service | execute
grant | function public.cleanup_inactive_sessions(interval,text,integer) to service_role | execute
grant | function public.cleanup_old_check_ins(interval,integer) to lastseen_service | execute
grant | function public.cleanup_old_check_ins(interval,integer) to service_role | execute
grant | function public.cleanup_old_sessions(integer) to lastseen_service | execute
grant | function public.cleanup_old_sessions(integer) to service_role | execute
grant | function public.close_aged_sessions(interval,integer) to lastseen_service | execute
grant | function public.close_aged_sessions(interval,integer) to service_role | execute
grant | function public.close_lonely_sessions(interval,integer) to lastseen_service | execute
grant | function public.close_lonely_sessions(interval,integer) to service_role | execute
grant | function public.end_inactive_sessions(integer) to lastseen_service | execute
grant | function public.end_inactive_sessions(integer) to service_role | execute
grant | function public.erase_user(uuid) to lastseen_service | execute
grant | function public.erase_user(uuid) to service_role | execute
grant | function public.expire_user_sessions(integer) to lastseen_service | execute
grant | function public.expire_user_sessions(integer) to service_role | execute
grant | function public.export_user(uuid) to lastseen_service | execute
grant | function public.export_user(uuid) to service_role | execute
grant | function public.is_participant(uuid) to authenticated | execute
grant | function public.is_participant(uuid) to lastseen_service | execute
grant | function public.is_participant(uuid) to service_role | execute
grant | function public.peak_hours(integer,text) to lastseen_monitor | execute
grant | function public.peak_hours(integer,text) to lastseen_service | execute
grant | function public.peak_hours(integer,text) to service_role | execute
grant | function public.purge_closed_sessions(interval,integer) to lastseen_service | execute
grant | function public.purge_closed_sessions(interval,integer) to service_role | execute
grant | function public.purge_sits(interval,integer) to lastseen_service | execute
grant | function public.purge_sits(interval,integer) to service_role | execute
grant | function public.returning_users(integer,text) to lastseen_monitor | execute
grant | function public.returning_users(integer,text) to lastseen_service | execute
grant | function public.returning_users(integer,text) to service_role | execute
grant | function public.session_analytics(integer) to lastseen_monitor | execute
grant | function public.session_analytics(integer) to lastseen_service | execute
grant | function public.session_analytics(integer) to service_role | execute
grant | function public.sit_weeks_of(uuid,text) to authenticated | execute
grant | function public.sit_weeks_of(uuid,text) to lastseen_monitor | execute
grant | function public.sit_weeks_of(uuid,text) to lastseen_service | execute
grant | function public.sit_weeks_of(uuid,text) to service_role | execute
grant | function public.stop_inactive_simulators(interval) to lastseen_service | execute
grant | function public.stop_inactive_simulators(interval) to service_role | execute
grant | function public.stop_simulators_of_ended_sessions() to lastseen_service | execute
grant | function public.stop_simulators_of_ended_sessions() to service_role | execute
grant | schema lastseen to authenticated | usage
grant | schema lastseen to lastseen_definer | usage
grant | schema lastseen to lastseen_monitor | usage
grant | schema lastseen to lastseen_service | usage
grant | schema lastseen to service_role | usage
grant | schema public to anon | usage
grant | schema public to authenticated | usage
grant | schema public to lastseen_definer | usage
grant | schema public to lastseen_monitor | usage
grant | schema public to lastseen_service | usage
grant | schema public to service_role | usage
grant | table lastseen.migrations to lastseen_monitor | select
grant | table lastseen.migrations to lastseen_service | select
grant | table lastseen.subjects to lastseen_definer | select (user_id, subject)
grant | table lastseen.subjects to lastseen_monitor | select
grant | table lastseen.subjects to lastseen_service | delete, insert, select
grant | table lastseen.subjects to service_role | delete, insert, select
grant | table public.active_check_ins to authenticated | select
grant | table public.active_check_ins to lastseen_monitor | select
grant | table public.active_check_ins to lastseen_service | select
grant | table public.active_check_ins to service_role | select
grant | table public.active_sessions_summary to authenticated | select
grant | table public.active_sessions_summary to lastseen_monitor | select
grant | table public.active_sessions_summary to lastseen_service | select
grant | table public.active_sessions_summary to service_role | select
grant | table public.check_ins to authenticated | insert (id, user_id, name, checked_in_at, expires_at, status), select, update (name, expires_at, checked_out_at, status)
grant | table public.check_ins to lastseen_monitor | select
grant | table public.check_ins to lastseen_service | delete, insert, select, update
grant | table public.check_ins to service_role | delete, insert, select, update
grant | table public.connection_statistics to lastseen_monitor | select
grant | table public.connection_statistics to lastseen_service | select
grant | table public.connection_statistics to service_role | select
grant | table public.counts_now to lastseen_monitor | select
grant | table public.counts_now to lastseen_service | select
grant | table public.counts_now to service_role | select
grant | table public.inactive_simulators to lastseen_monitor | select
grant | table public.inactive_simulators to lastseen_service | select
grant | table public.inactive_simulators to service_role | select
grant | table public.partnership_members to authenticated | select
grant | table public.partnership_members to lastseen_monitor | select
grant | table public.partnership_members to lastseen_service | delete, insert, select, update
grant | table public.partnership_members to service_role | delete, insert, select, update
grant | table public.partnerships to authenticated | select
grant | table public.partnerships to lastseen_monitor | select
grant | table public.partnerships to lastseen_service | delete, insert, select, update
grant | table public.partnerships to service_role | delete, insert, select, update
grant | table public.reading_sessions to authenticated | select
grant | table public.reading_sessions to lastseen_monitor | select
grant | table public.reading_sessions to lastseen_service | delete, insert, select, update
grant | table public.reading_sessions to service_role | delete, insert, select, update
grant | table public.room_sits to authenticated | select
grant | table public.room_sits to lastseen_monitor | select
grant | table public.room_sits to lastseen_service | delete, insert, select, update
grant | table public.room_sits to service_role | delete, insert, select, update
grant | table public.session_invites to authenticated | select (id, session_id, role, max_uses, uses, expires_at, created_by, created_at, revoked_at)
grant | table public.session_invites to lastseen_monitor | select (id, session_id, role, max_uses, uses, expires_at, created_by, created_at, revoked_at)
grant | table public.session_invites to lastseen_service | delete, insert, select, update
grant | table public.session_invites to service_role | delete, insert, select, update
grant | table public.session_participants to authenticated | select (id, session_id, user_id, name, role, is_active, state, node, joined_at, last_seen_at, last_activity_at, left_at, leave_reason)
grant | table public.session_participants to lastseen_definer | select (session_id, user_id, leave_reason)
grant | table public.session_participants to lastseen_monitor | select
grant | table public.session_participants to lastseen_service | delete, insert, select, update
grant | table public.session_participants to service_role | delete, insert, select, update
grant | table public.session_stats to lastseen_monitor | select
grant | table public.session_stats to lastseen_service | select
grant | table public.session_stats to service_role | select
grant | table public.simulators to authenticated | select (id, user_session_id, user_id, status, endpoint, initial_symbols, initial_cash, created_at, last_active, stopped_at, error)
grant | table public.simulators to lastseen_monitor | select
grant | table public.simulators to lastseen_service | delete, insert, select, update
grant | table public.simulators to service_role | delete, insert, select, update
grant | table public.sit_weeks to authenticated | select
grant | table public.sit_weeks to lastseen_monitor | select
grant | table public.sit_weeks to lastseen_service | select
grant | table public.sit_weeks to service_role | select
grant | table public.sits to authenticated | insert (id, user_id, partnership_id, sit_length_seconds), select, update (completed_at, is_completed, status)
grant | table public.sits to lastseen_monitor | select
grant | table public.sits to lastseen_service | delete, insert, select, update
grant | table public.sits to service_role | delete, insert, select, update
grant | table public.user_sessions to authenticated | insert (id, user_id, session_id, platform, status, started_at, last_activity_at, last_heartbeat_at, expires_at, node, device_info, location_info, metadata, user_agent, ip_address), select, update (status, last_activity_at, last_heartbeat_at, expires_at, ended_at, end_reason, total_duration_seconds, activity_count, frontend_connections, sse_connections, node, device_info, location_info, metadata, user_agent, ip_address, updated_at)
grant | table public.user_sessions to lastseen_monitor | select
grant | table public.user_sessions to lastseen_service | delete, insert, select, update
grant | table public.user_sessions to service_role | delete, insert, select, update
index | public.check_ins_by_expiry | CREATE INDEX check_ins_by_expiry ON public.check_ins USING btree (expires_at)
index | public.check_ins_newest | CREATE INDEX check_ins_newest ON public.check_ins USING btree (checked_in_at DESC, id DESC)
index | public.check_ins_of_user | CREATE INDEX check_ins_of_user ON public.check_ins USING btree (user_id, checked_in_at DESC, id DESC)
index | public.one_live_simulator_a_user_session | CREATE UNIQUE INDEX one_live_simulator_a_user_session ON public.simulators USING btree (user_session_id) WHERE (status <> ALL (ARRAY['STOPPED'::text, 'ERROR'::text]))
index | public.one_open_sit_a_room | CREATE UNIQUE INDEX one_open_sit_a_room ON public.room_sits USING btree (session_id) WHERE (status = 'open'::text)
index | public.one_sit_a_user_and_room_sit | CREATE UNIQUE INDEX one_sit_a_user_and_room_sit ON public.sits USING btree (room_sit_id, user_id) WHERE (room_sit_id IS NOT NULL)
index | public.partnerships_newest | CREATE INDEX partnerships_newest ON public.partnerships USING btree (created_at DESC, id DESC)
index | public.partnerships_of_user | CREATE INDEX partnerships_of_user ON public.partnerships USING gin (user_ids)
index | public.partnerships_without_members | CREATE INDEX partnerships_without_members ON public.partnerships USING btree (created_at) WHERE (user_ids = '{}'::uuid[])
index | public.reading_sessions_closed | CREATE INDEX reading_sessions_closed ON public.reading_sessions USING btree (closed_at) WHERE (NOT is_active)
index | public.reading_sessions_newest | CREATE INDEX reading_sessions_newest ON public.reading_sessions USING btree (created_at DESC, id DESC)
index | public.reading_sessions_of_host | CREATE INDEX reading_sessions_of_host ON public.reading_sessions USING btree (host_user_id, created_at DESC, id DESC) WHERE (host_user_id IS NOT NULL)
index | public.reading_sessions_open_by_last_activity | CREATE INDEX reading_sessions_open_by_last_activity ON public.reading_sessions USING btree (last_activity_at, id) WHERE is_active
index | public.reading_sessions_open_by_last_seen | CREATE INDEX reading_sessions_open_by_last_seen ON public.reading_sessions USING btree (last_seen_at, id) WHERE is_active
index | public.room_sits_of_session | CREATE INDEX room_sits_of_session ON public.room_sits USING btree (session_id)
index | public.room_sits_started_by | CREATE INDEX room_sits_started_by ON public.room_sits USING btree (started_by)
index | public.session_invites_of_session | CREATE INDEX session_invites_of_session ON public.session_invites USING btree (session_id)
index | public.session_participants_by_join | CREATE INDEX session_participants_by_join ON public.session_participants USING btree (joined_at)
index | public.session_participants_of_user | CREATE INDEX session_participants_of_user ON public.session_participants USING btree (user_id) WHERE (user_id IS NOT NULL)
index | public.simulators_by_status | CREATE INDEX simulators_by_status ON public.simulators USING btree (status, created_at DESC, id DESC)
index | public.simulators_live_by_node | CREATE INDEX simulators_live_by_node ON public.simulators USING btree (node) WHERE (status <> ALL (ARRAY['STOPPED'::text, 'ERROR'::text]))
index | public.simulators_newest | CREATE INDEX simulators_newest ON public.simulators USING btree (created_at DESC, id DESC)
index | public.simulators_of_user | CREATE INDEX simulators_of_user ON public.simulators USING btree (user_id, created_at DESC, id DESC)
index | public.simulators_of_user_session | CREATE INDEX simulators_of_user_session ON public.simulators USING btree (user_session_id, created_at DESC)
index | public.sits_by_status | CREATE INDEX sits_by_status ON public.sits USING btree (status, started_at DESC, id DESC)
index | public.sits_newest | CREATE INDEX sits_newest ON public.sits USING btree (started_at DESC, id DESC)
index | public.sits_of_partnership | CREATE INDEX sits_of_partnership ON public.sits USING btree (partnership_id, started_at DESC, id DESC) WHERE (partnership_id IS NOT NULL)
index | public.sits_of_user | CREATE INDEX sits_of_user ON public.sits USING btree (user_id, started_at DESC, id DESC)
index | public.user_sessions_by_platform_and_status | CREATE INDEX user_sessions_by_platform_and_status ON public.user_sessions USING btree (platform, status, started_at DESC, id DESC)
index | public.user_sessions_ended | CREATE INDEX user_sessions_ended ON public.user_sessions USING btree (ended_at) WHERE (ended_at IS NOT NULL)
index | public.user_sessions_newest | CREATE INDEX user_sessions_newest ON public.user_sessions USING btree (started_at DESC, id DESC)
index | public.user_sessions_of_user | CREATE INDEX user_sessions_of_user ON public.user_sessions USING btree (user_id, started_at DESC, id DESC)
index | public.user_sessions_open | CREATE INDEX user_sessions_open ON public.user_sessions USING btree (expires_not_before) WHERE (ended_at IS NULL)
membership | lastseen_service in anon | set role
membership | lastseen_service in authenticated | set role
policy | definer_finds_subjects on lastseen.subjects | for select to lastseen_definer using (true)
policy | definer_sees_all on public.session_participants | for select to lastseen_definer using (true)
policy | members_see_each_other on public.partnership_members | for select to authenticated using ((partnership_id IN ( SELECT p.id FROM public.partnerships p)))
policy | members_see_their_partnerships on public.partnerships | for select to authenticated using ((user_ids @> ARRAY[( SELECT auth.uid() AS uid)]))
policy | monitors_see_all on lastseen.subjects | for select to lastseen_monitor using (true)
policy | monitors_see_all on public.check_ins | for select to lastseen_monitor using (true)
policy | monitors_see_all on public.partnership_members | for select to lastseen_monitor using (true)
policy | monitors_see_all on public.partnerships | for select to lastseen_monitor using (true)
policy | monitors_see_all on public.reading_sessions | for select to lastseen_monitor using (true)
policy | monitors_see_all on public.room_sits | for select to lastseen_monitor using (true)
policy | monitors_see_all on public.session_invites | for select to lastseen_monitor using (true)
policy | monitors_see_all on public.session_participants | for select to lastseen_monitor using (true)
policy | monitors_see_all on public.simulators | for select to lastseen_monitor using (true)
policy | monitors_see_all on public.sits | for select to lastseen_monitor using (true)
policy | monitors_see_all on public.user_sessions | for select to lastseen_monitor using (true)
policy | people_change_their_own on public.check_ins | for update to authenticated using (((user_id = ( SELECT auth.uid() AS uid)) AND (status = 'active'::text))) with check ((user_id = ( SELECT auth.uid() AS uid)))
policy | people_change_their_own on public.sits | for update to authenticated using (((user_id = ( SELECT auth.uid() AS uid)) AND ((status = 'open'::text) OR ((status = 'abandoned'::text) AND ((started_at + make_interval(secs => (sit_length_seconds)::double precision)) <= now()))))) with check ((user_id = ( SELECT auth.uid() AS uid)))
policy | people_make_their_own on public.check_ins | for insert to authenticated with check ((user_id = ( SELECT auth.uid() AS uid)))
policy | people_make_their_own on public.sits | for insert to authenticated with check (((user_id = ( SELECT auth.uid() AS uid)) AND ((partnership_id IS NULL) OR (partnership_id IN ( SELECT p.id FROM public.partnerships p WHERE (p.user_ids @> ARRAY[( SELECT auth.uid() AS uid)]))))))
policy | people_see_each_other on public.session_participants | for select to authenticated using (((session_id IN ( SELECT s.id FROM public.reading_sessions s WHERE (s.host_user_id = ( SELECT auth.uid() AS uid)))) OR public.is_participant(session_id)))
policy | people_see_the_invites on public.session_invites | for select to authenticated using (((session_id IN ( SELECT s.id FROM public.reading_sessions s WHERE (s.host_user_id = ( SELECT auth.uid() AS uid)))) OR public.is_participant(session_id)))
policy | people_see_the_sits_of_the_room on public.room_sits | for select to authenticated using (((session_id IN ( SELECT s.id FROM public.reading_sessions s WHERE (s.host_user_id = ( SELECT auth.uid() AS uid)))) OR public.is_participant(session_id)))
policy | people_see_their_own on public.check_ins | for select to authenticated using ((user_id = ( SELECT auth.uid() AS uid)))
policy | people_see_their_own_and_their_partners on public.sits | for select to authenticated using (((user_id = ( SELECT auth.uid() AS uid)) OR (partnership_id IN ( SELECT p.id FROM public.partnerships p WHERE (p.user_ids @> ARRAY[( SELECT auth.uid() AS uid)])))))
policy | people_see_their_sessions on public.reading_sessions | for select to authenticated using (((host_user_id = ( SELECT auth.uid() AS uid)) OR public.is_participant(id)))
policy | service_does_all on lastseen.subjects | for all to lastseen_service, service_role using (true) with check (true)
policy | service_does_all on public.check_ins | for all to lastseen_service, service_role using (true) with check (true)
policy | service_does_all on public.partnership_members | for all to lastseen_service, service_role using (true) with check (true)
policy | service_does_all on public.partnerships | for all to lastseen_service, service_role using (true) with check (true)
policy | service_does_all on public.reading_sessions | for all to lastseen_service, service_role using (true) with check (true)
policy | service_does_all on public.room_sits | for all to lastseen_service, service_role using (true) with check (true)
policy | service_does_all on public.session_invites | for all to lastseen_service, service_role using (true) with check (true)
policy | service_does_all on public.session_participants | for all to lastseen_service, service_role using (true) with check (true)
policy | service_does_all on public.simulators | for all to lastseen_service, service_role using (true) with check (true)
policy | service_does_all on public.sits | for all to lastseen_service, service_role using (true) with check (true)
policy | service_does_all on public.user_sessions | for all to lastseen_service, service_role using (true) with check (true)
policy | users_change_their_sessions on public.user_sessions | for update to authenticated using (((user_id = ( SELECT auth.uid() AS uid)) AND (ended_at IS NULL) AND (expires_at > now()))) with check ((user_id = ( SELECT auth.uid() AS uid)))
policy | users_see_their_sessions on public.user_sessions | for select to authenticated using ((user_id = ( SELECT auth.uid() AS uid)))
policy | users_see_their_simulators on public.simulators | for select to authenticated using ((user_id = ( SELECT auth.uid() AS uid)))
policy | users_start_their_sessions on public.user_sessions | for insert to authenticated with check ((user_id = ( SELECT auth.uid() AS uid)))
role | anon | in the cluster
role | authenticated | in the cluster
role | lastseen_definer | in the cluster
role | lastseen_monitor | nosuperuser nobypassrls
role | lastseen_service | nosuperuser nobypassrls
role | service_role | in the cluster
table | lastseen.migrations | row security disabled, not forced
table | lastseen.subjects | row security enabled, forced
table | public.check_ins | row security enabled, forced
table | public.partnership_members | row security enabled, forced
table | public.partnerships | row security enabled, forced
table | public.reading_sessions | row security enabled, forced
table | public.room_sits | row security enabled, forced
table | public.session_invites | row security enabled, forced
table | public.session_participants | row security enabled, forced
table | public.simulators | row security enabled, forced
table | public.sits | row security enabled, forced
table | public.user_sessions | row security enabled, forced
trigger | abandon_sit_of_closed_session on public.reading_sessions | CREATE TRIGGER abandon_sit_of_closed_session AFTER UPDATE OF is_active ON public.reading_sessions FOR EACH ROW WHEN ((old.is_active AND (NOT new.is_active))) EXECUTE FUNCTION lastseen.abandon_sit_of_closed_session()
trigger | erase_stopped_simulator on public.simulators | CREATE TRIGGER erase_stopped_simulator AFTER UPDATE OF status ON public.simulators FOR EACH ROW WHEN ((new.erase_when_stopped AND (new.status = ANY (ARRAY['STOPPED'::text, 'ERROR'::text])))) EXECUTE FUNCTION lastseen.erase_stopped_simulator()
trigger | keep_check_in on public.check_ins | CREATE TRIGGER keep_check_in BEFORE UPDATE ON public.check_ins FOR EACH ROW WHEN ((pg_has_role('authenticated'::name, 'usage'::text) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION lastseen.keep_check_in()
trigger | keep_new_check_in on public.check_ins | CREATE TRIGGER keep_new_check_in BEFORE INSERT ON public.check_ins FOR EACH ROW WHEN ((pg_has_role('authenticated'::name, 'usage'::text) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION lastseen.keep_new_check_in()
trigger | keep_new_sit on public.sits | CREATE TRIGGER keep_new_sit BEFORE INSERT ON public.sits FOR EACH ROW WHEN ((pg_has_role('authenticated'::name, 'usage'::text) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION lastseen.keep_new_sit()
trigger | keep_objects on public.user_sessions | CREATE TRIGGER keep_objects BEFORE INSERT OR UPDATE ON public.user_sessions FOR EACH ROW WHEN (((new.device_info IS NULL) OR (new.location_info IS NULL) OR (new.metadata IS NULL))) EXECUTE FUNCTION lastseen.keep_objects()
trigger | keep_sit on public.sits | CREATE TRIGGER keep_sit BEFORE UPDATE ON public.sits FOR EACH ROW WHEN ((pg_has_role('authenticated'::name, 'usage'::text) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION lastseen.keep_sit()
trigger | keep_user_session on public.user_sessions | CREATE TRIGGER keep_user_session BEFORE INSERT OR UPDATE ON public.user_sessions FOR EACH ROW WHEN ((pg_has_role('authenticated'::name, 'usage'::text) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION lastseen.keep_user_session()
trigger | note_extension on public.check_ins | CREATE TRIGGER note_extension BEFORE UPDATE ON public.check_ins FOR EACH ROW WHEN (((new.status = 'active'::text) AND (new.expires_at > old.expires_at))) EXECUTE FUNCTION lastseen.note_extension()
trigger | note_partnership_members on public.partnership_members | CREATE TRIGGER note_partnership_members AFTER INSERT OR DELETE OR UPDATE ON public.partnership_members FOR EACH ROW EXECUTE FUNCTION lastseen.note_partnership_members()
type | lastseen.admission | verdict text, detail text, participant_id uuid, user_id uuid, name text, role text, state jsonb, joined_at timestamp with time zone, resume_generation integer, newly_made boolean, invite_id uuid, invite_counted boolean, invite_uncounted boolean, session_id uuid, title text, host_user_id uuid, max_participants integer, session_created_at timestamp with time zone, session_last_seen_at timestamp with time zone, session_last_activity_at timestamp with time zone
type | lastseen.idle_counts | domain text not null CHECK ((VALUE = ANY (ARRAY['seen'::text, 'activity'::text])))
view | public.active_check_ins | with (security_invoker=true) as SELECT c.id, c.user_id, c.name, c.checked_in_at, c.expires_at, (LEAST(ceil((EXTRACT(epoch FROM (c.expires_at - now())) / (60)::numeric)), (2147483647)::numeric))::integer AS minutes_remaining, c.extended_at, c.extension_count FROM public.check_ins c WHERE ((c.status = 'active'::text) AND (c.expires_at > now()))
view | public.active_sessions_summary | with (security_invoker=true) as SELECT s.platform, count(*) AS active_count, round((avg(GREATEST(EXTRACT(epoch FROM (now() - s.started_at)), (0)::numeric)) / (60)::numeric), 1) AS avg_session_minutes, min(s.started_at) AS oldest_session, max(s.last_activity_at) AS latest_activity FROM public.user_sessions s WHERE ((s.ended_at IS NULL) AND (s.expires_at > now())) GROUP BY s.platform
view | public.connection_statistics | with (security_invoker=true) as SELECT s.id, s.session_id, s.user_id, s.platform, s.status, s.node, s.frontend_connections, s.sse_connections, s.connection_quality, s.last_ws_connection, s.last_heartbeat_at FROM public.user_sessions s WHERE ((s.ended_at IS NULL) AND (s.expires_at > now()))
view | public.counts_now | with (security_invoker=true) as SELECT 'reading_sessions'::text AS system, NULL::text AS platform, COALESCE(s.close_reason, 'open'::text) AS status, count(*) AS rows FROM public.reading_sessions s GROUP BY COALESCE(s.close_reason, 'open'::text) UNION ALL SELECT 'participants'::text AS system, NULL::text AS platform, 'present'::text AS status, count(*) AS rows FROM (public.reading_sessions s JOIN public.session_participants p ON (((p.session_id = s.id) AND p.is_active))) WHERE s.is_active UNION ALL SELECT 'user_sessions'::text AS system, u.platform, CASE WHEN ((u.ended_at IS NULL) AND (u.expires_at <= now())) THEN 'timeout'::text ELSE u.status END AS status, count(*) AS rows FROM public.user_sessions u GROUP BY u.platform, CASE WHEN ((u.ended_at IS NULL) AND (u.expires_at <= now())) THEN 'timeout'::text ELSE u.status END UNION ALL SELECT 'check_ins'::text AS system, NULL::text AS platform, CASE WHEN (c.status = 'inactive'::text) THEN 'checked_out'::text WHEN (c.expires_at > now()) THEN 'active'::text ELSE 'expired'::text END AS status, count(*) AS rows FROM public.check_ins c GROUP BY CASE WHEN (c.status = 'inactive'::text) THEN 'checked_out'::text WHEN (c.expires_at > now()) THEN 'active'::text ELSE 'expired'::text END UNION ALL SELECT 'sits'::text AS system, NULL::text AS platform, t.status, count(*) AS rows FROM public.sits t GROUP BY t.status UNION ALL SELECT 'simulators'::text AS system, NULL::text AS platform, m.status, count(*) AS rows FROM public.simulators m GROUP BY m.status
view | public.inactive_simulators | with (security_invoker=true) as SELECT s.id, s.user_session_id, u.session_id, s.user_id, s.status, s.node, s.endpoint, used.last_active, (floor((EXTRACT(epoch FROM (now() - used.last_active)) / (60)::numeric)))::bigint AS inactive_minutes FROM ((public.simulators s JOIN public.user_sessions u ON ((u.id = s.user_session_id))) CROSS JOIN LATERAL ( SELECT GREATEST(s.last_active, u.last_activity_at) AS "greatest") used(last_active)) WHERE ((s.status = ANY (ARRAY['CREATING'::text, 'STARTING'::text, 'RUNNING'::text])) AND (used.last_active <= (now() - '01:00:00'::interval)))
view | public.session_stats | with (security_invoker=true) as SELECT s.id, s.is_active, s.close_reason, s.created_at, s.last_seen_at, (GREATEST(EXTRACT(epoch FROM (s.last_seen_at - s.created_at)), (0)::numeric))::bigint AS length_seconds, people.participants FROM (public.reading_sessions s CROSS JOIN LATERAL ( SELECT count(*) FILTER (WHERE (p.is_active OR (p.left_at IS NOT NULL))) AS participants FROM public.session_participants p WHERE (p.session_id = s.id)) people)
view | public.sit_weeks | with (security_invoker=true) as SELECT s.partnership_id, s.user_id, to_char((week.starts_on)::timestamp with time zone, 'IYYY-"W"IW'::text) AS iso_week, week.starts_on AS week_starts_on, count(*) AS sits_completed, (sum(s.duration_seconds))::bigint AS seconds FROM (public.sits s CROSS JOIN LATERAL ( SELECT (date_trunc('week'::text, (s.completed_at AT TIME ZONE 'UTC'::text)))::date AS date_trunc) week(starts_on)) WHERE (s.status = 'completed'::text) GROUP BY s.partnership_id, s.user_id, week.starts_on
$facts$;
end
$wanted$;

with findings as materialized (select * from pg_temp.lastseen_check())
select object, fault, mend from findings
union all
select 'All tests completed successfully!', null, null where not exists (select from findings);
