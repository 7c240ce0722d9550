-- Included by each test, inside its transaction, on a migrated database without rows: people, and a
-- way to look at things as one of them.

create schema fixture;
grant usage on schema fixture to lastseen_service, service_role, authenticated, anon;

-- Users a (1), b (2), c (3); whatever else a test needs is fixture.id(n).
create function fixture.id(n int) returns uuid language sql immutable
return ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid;

create function fixture.token(word text) returns bytea language sql immutable
return sha256(convert_to(word, 'UTF8'));

create function fixture.become(who regrole, sub uuid default null) returns void language plpgsql as $$
begin
  execute format('set local role %s', who);
  perform set_config('request.jwt.claims',
    case when sub is null then '' else json_build_object('sub', sub, 'role', who)::text end, true);
end
$$;

create function fixture.fails_with(state text, statement text) returns boolean language plpgsql as $$
begin
  execute statement;
  return false;
exception when others then
  if sqlstate <> state then
    raise warning '% instead of %: %', sqlstate, state, sqlerrm;
  end if;
  return sqlstate = state;
end
$$;
