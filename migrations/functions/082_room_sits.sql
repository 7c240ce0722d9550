-- Sits of a room: start, end, and the end of the session.

create or replace function lastseen.abandon_sit_of_closed_session() returns trigger
language plpgsql set search_path = ''
as $$
begin
  -- A sit whose time is over was announced as completed, and its server is about to record it.
  update public.room_sits as r
  set status = 'abandoned', ended_at = now()
  where r.session_id = new.id and r.status = 'open' and r.ends_at > now();
  return null;
end
$$;
comment on function lastseen.abandon_sit_of_closed_session is 'Abandons the running sit of a session that is closed.';

create or replace trigger abandon_sit_of_closed_session
  after update of is_active on public.reading_sessions
  for each row when (old.is_active and not new.is_active)
  execute function lastseen.abandon_sit_of_closed_session();

create or replace function lastseen.start_room_sit(new_id uuid, session uuid, starter uuid, length_seconds int, node text)
returns public.room_sits
language plpgsql set search_path = ''
as $$
declare
  started public.room_sits;
begin
  -- Blocks a close, which would abandon only a sit that it sees.
  perform from public.reading_sessions as s where s.id = session and s.is_active for share;
  if not found then
    return null;
  end if;

  -- The server that calls holds the room and has no sit in it: an open one of its own was started by a
  -- call whose answer was lost.
  update public.room_sits as r
  set status = 'abandoned', ended_at = now()
  where r.session_id = session and r.status = 'open' and r.node is not distinct from start_room_sit.node;

  insert into public.room_sits (id, session_id, started_by, node, sit_length_seconds, started_at, ends_at)
  values (new_id, session, starter, start_room_sit.node, length_seconds, now(), now() + make_interval(secs => length_seconds))
  on conflict (session_id) where status = 'open' do nothing
  returning * into started;
  return started;
end
$$;
comment on function lastseen.start_room_sit is
  'Starts a sit of a room and returns it; null where the session is not open, or another server has a sit there.';

create or replace function lastseen.record_room_sit(
  over public.room_sits, new_ids uuid[], users uuid[], came_at timestamptz[]
) returns void
language sql set search_path = ''
as $$
  insert into public.sits
    (id, user_id, room_sit_id, sit_length_seconds, started_at, completed_at, is_completed, status)
  select present.new_id, present.user_id, over.id, over.sit_length_seconds,
         least(greatest(over.started_at, present.came_at), over.ends_at), over.ends_at, true, 'completed'
  from unnest(new_ids, users, came_at) as present (new_id, user_id, came_at)
  on conflict do nothing
$$;
comment on function lastseen.record_room_sit is 'Records a sit of a room for these users, each since when it came.';

create or replace function lastseen.finish_room_sit(room_sit uuid, new_ids uuid[], users uuid[], came_at timestamptz[])
returns boolean
language plpgsql set search_path = '' set lock_timeout = '1s'
as $$
declare
  over  public.room_sits;
  place int;
begin
  -- Also a sit that a sweep has abandoned since: it was announced as completed. But not one that ended
  -- before its time.
  update public.room_sits as r
  set status = 'completed', ended_at = r.ends_at
  where r.id = room_sit and r.status <> 'completed' and (r.ended_at is null or r.ended_at >= r.ends_at)
  returning r.* into over;
  if not found then
    return false;
  end if;

  begin
    perform lastseen.record_room_sit(over, new_ids, users, came_at);
  exception when foreign_key_violation then
    -- An account is gone, in a database that has a table of users: one after the other, for those that are there.
    for place in 1 .. cardinality(users) loop
      begin
        perform lastseen.record_room_sit(over, new_ids[place:place], users[place:place], came_at[place:place]);
      exception when foreign_key_violation then
        null;
      end;
    end loop;
  end;
  return true;
end
$$;
comment on function lastseen.finish_room_sit is
  'Ends a sit of a room on time and records it for each user who is there then and whose account still exists. False where that was done before, or the sit was abandoned with its session.';

revoke all on function
  lastseen.start_room_sit,
  lastseen.record_room_sit,
  lastseen.finish_room_sit,
  lastseen.abandon_sit_of_closed_session
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function
  lastseen.start_room_sit,
  lastseen.record_room_sit,
  lastseen.finish_room_sit
to lastseen_service, service_role;
