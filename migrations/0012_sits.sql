-- Sits: timed sittings, of one person, in a partnership, or of a whole room.

create table public.partnerships (
  id         uuid        not null default gen_random_uuid() primary key,
  user_ids   uuid[]      not null default '{}',
  created_at timestamptz not null default now()
);
create index partnerships_of_user on public.partnerships using gin (user_ids);
create index partnerships_newest on public.partnerships (created_at desc, id desc);

comment on table public.partnerships is 'People who sit together, and read each other''s sits.';
comment on column public.partnerships.user_ids is
  'The members once more, kept by a trigger: a policy on partnership_members that reads partnership_members would ask itself.';

create table public.partnership_members (
  partnership_id uuid not null references public.partnerships on delete cascade,
  user_id        uuid not null,
  primary key (partnership_id, user_id)
);
comment on table public.partnership_members is 'Who belongs to a partnership.';

create function lastseen.note_partnership_members() returns trigger
language plpgsql set search_path = ''
as $$
begin
  update public.partnerships as p
  set user_ids = array(
    select m.user_id from public.partnership_members as m where m.partnership_id = p.id order by m.user_id)
  where p.id in (old.partnership_id, new.partnership_id);
  return null;
end
$$;
comment on function lastseen.note_partnership_members is 'Keeps partnerships.user_ids.';

create trigger note_partnership_members
  after insert or update or delete on public.partnership_members
  for each row execute function lastseen.note_partnership_members();

create table public.room_sits (
  id                 uuid        not null default gen_random_uuid() primary key,
  session_id         uuid        not null references public.reading_sessions on delete cascade,
  started_by         uuid        references public.session_participants on delete set null,
  node               text,
  sit_length_seconds int         not null check (sit_length_seconds between 1 and 86400),
  started_at         timestamptz not null default now(),
  ends_at            timestamptz not null,
  ended_at           timestamptz,
  status             text        not null default 'open' check (status in ('open', 'completed', 'abandoned')),
  constraint open_until_ended check ((status = 'open') = (ended_at is null))
);
create unique index one_open_sit_a_room on public.room_sits (session_id) where status = 'open';
create index room_sits_of_session on public.room_sits (session_id);
create index room_sits_started_by on public.room_sits (started_by);

comment on table public.room_sits is
  'A sit of everybody in a reading session, started by its host. What each user sat is in sits.';
comment on column public.room_sits.node is 'The server that holds the room, and ends the sit on time.';
comment on column public.room_sits.ended_at is
  'When it was over. Before ends_at only where its session was closed meanwhile, which abandons it.';

create table public.sits (
  id                 uuid        not null default gen_random_uuid() primary key,
  user_id            uuid        not null,
  partnership_id     uuid        references public.partnerships on delete set null,
  room_sit_id        uuid        references public.room_sits on delete set null,
  sit_length_seconds int         not null check (sit_length_seconds > 0),
  started_at         timestamptz not null default now(),
  completed_at       timestamptz,
  is_completed       boolean     not null default false,
  status             text        not null default 'open' check (status in ('open', 'completed', 'abandoned')),
  constraint completed_is_a_status check (is_completed = (status = 'completed')),
  constraint completed_at_a_time check (is_completed = (completed_at is not null))
);
create index sits_of_user on public.sits (user_id, started_at desc, id desc);
create index sits_of_partnership on public.sits (partnership_id, started_at desc, id desc) where partnership_id is not null;
create index sits_newest on public.sits (started_at desc, id desc);
create index sits_open on public.sits (started_at) where status = 'open';
create unique index one_sit_a_user_and_room_sit on public.sits (room_sit_id, user_id) where room_sit_id is not null;

comment on table public.sits is
  'A timed sitting of one person. What was really sat is completed_at - started_at: less than the length where it was completed early.';
comment on column public.sits.room_sit_id is
  'The room''s sit that this one was part of; started_at is then when the person came, if the room had begun before.';

create view public.sit_weeks with (security_invoker = true) as
  select s.partnership_id,
         s.user_id,
         to_char(week.starts_on, 'IYYY-"W"IW') as iso_week,
         week.starts_on as week_starts_on,
         count(*) as sits_completed,
         round(sum(extract(epoch from s.completed_at - s.started_at)))::bigint as seconds
  from public.sits as s
  cross join lateral (select date_trunc('week', s.completed_at at time zone 'UTC')::date) as week (starts_on)
  where s.status = 'completed'
  group by s.partnership_id, s.user_id, week.starts_on;
comment on view public.sit_weeks is
  'Per partnership (null: alone, or in a room), person and ISO week (UTC, by when the sit was completed): how many sits were completed, and the seconds that were really sat.';

create function public.abandon_overdue_sits(grace interval default '5 minutes') returns bigint
language sql set search_path = ''
as $$
  -- SKIP LOCKED: a sit that is being completed just now is not abandoned.
  with overdue as materialized (
    select s.id from public.sits as s
    where s.status = 'open' and s.started_at < now() - grace
      and s.started_at + make_interval(secs => s.sit_length_seconds) < now() - grace
    order by s.id
    for no key update skip locked
  ), abandoned as (
    update public.sits as s set status = 'abandoned' from overdue where s.id = overdue.id returning s.id
  ), overdue_rooms as materialized (
    select r.id from public.room_sits as r
    where r.status = 'open' and r.ends_at < now() - grace
    order by r.id
    for no key update skip locked
  ), abandoned_rooms as (
    update public.room_sits as r set status = 'abandoned', ended_at = now()
    from overdue_rooms where r.id = overdue_rooms.id returning r.id
  )
  select (select count(*) from abandoned) + (select count(*) from abandoned_rooms)
$$;
comment on function public.abandon_overdue_sits is
  'Marks the sits as abandoned that were not completed within their length and this grace, and says how many; also sits of rooms whose server is gone.';

create function lastseen.abandon_sit_of_closed_session() returns trigger
language plpgsql set search_path = ''
as $$
begin
  -- One whose time has come was told as completed, and its server is about to write it down.
  update public.room_sits as r
  set status = 'abandoned', ended_at = now()
  where r.session_id = new.id and r.status = 'open' and r.ends_at > now();
  return null;
end
$$;
comment on function lastseen.abandon_sit_of_closed_session is 'A session that is closed takes its running sit along.';

create trigger abandon_sit_of_closed_session
  after update of is_active on public.reading_sessions
  for each row when (old.is_active and not new.is_active)
  execute function lastseen.abandon_sit_of_closed_session();

create function lastseen.start_room_sit(new_id uuid, session uuid, starter uuid, length_seconds int, node text)
returns public.room_sits
language plpgsql set search_path = ''
as $$
declare
  started public.room_sits;
begin
  -- Held against a close, which abandons the sit that it finds.
  perform from public.reading_sessions as s where s.id = session and s.is_active for share;
  if not found then
    return null;
  end if;

  -- This server holds the room and knows of no sit in it: one of its own that is open here was
  -- started by a call whose answer was lost.
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

create function lastseen.finish_room_sit(room_sit uuid, new_ids uuid[], users uuid[], came_at timestamptz[])
returns boolean
language plpgsql set search_path = ''
as $$
declare
  over public.room_sits;
begin
  -- Also one that a sweep has given up since: its people were told that it is completed. But not one
  -- that ended before its time.
  update public.room_sits as r
  set status = 'completed', ended_at = r.ends_at
  where r.id = room_sit and r.status <> 'completed' and (r.ended_at is null or r.ended_at >= r.ends_at)
  returning r.* into over;
  if not found then
    return false;
  end if;

  insert into public.sits
    (id, user_id, room_sit_id, sit_length_seconds, started_at, completed_at, is_completed, status)
  select present.new_id, present.user_id, over.id, over.sit_length_seconds,
         least(greatest(over.started_at, present.came_at), over.ends_at), over.ends_at, true, 'completed'
  from unnest(new_ids, users, came_at) as present (new_id, user_id, came_at)
  on conflict do nothing;
  return true;
end
$$;
comment on function lastseen.finish_room_sit is
  'Ends a sit of a room on its time and records it for each user who is there then. False where that was done before, or the sit was abandoned with its session.';

alter table public.partnerships enable row level security;
alter table public.partnerships force row level security;
alter table public.partnership_members enable row level security;
alter table public.partnership_members force row level security;
alter table public.room_sits enable row level security;
alter table public.room_sits force row level security;
alter table public.sits enable row level security;
alter table public.sits force row level security;

revoke all on public.partnerships, public.partnership_members, public.room_sits, public.sits, public.sit_weeks
  from public, anon, authenticated;
grant select, insert, update, delete
  on public.partnerships, public.partnership_members, public.room_sits, public.sits
  to lastseen_service, service_role;
grant select on public.sit_weeks to lastseen_service, service_role, authenticated;
grant select on public.partnerships, public.partnership_members, public.room_sits, public.sits to authenticated;
-- Not room_sit_id: what was sat in a room the server writes down.
grant insert (id, user_id, partnership_id, sit_length_seconds) on public.sits to authenticated;
grant update (completed_at, is_completed, status) on public.sits to authenticated;

create policy service_does_all on public.partnerships
  for all to lastseen_service, service_role using (true) with check (true);
create policy service_does_all on public.partnership_members
  for all to lastseen_service, service_role using (true) with check (true);
create policy service_does_all on public.room_sits
  for all to lastseen_service, service_role using (true) with check (true);
create policy service_does_all on public.sits
  for all to lastseen_service, service_role using (true) with check (true);

create policy members_see_their_partnerships on public.partnerships
  for select to authenticated using (user_ids @> array[(select auth.uid())]);
create policy members_see_each_other on public.partnership_members
  for select to authenticated using (partnership_id in (select p.id from public.partnerships as p));

create policy people_see_the_sits_of_the_room on public.room_sits
  for select to authenticated
  using (
    session_id in (select s.id from public.reading_sessions as s where s.host_user_id = (select auth.uid()))
    or public.is_participant(session_id)
  );

create policy people_see_their_own_and_their_partners on public.sits
  for select to authenticated
  using (
    user_id = (select auth.uid())
    or partnership_id in (select p.id from public.partnerships as p where p.user_ids @> array[(select auth.uid())])
  );
create policy people_make_their_own on public.sits
  for insert to authenticated
  with check (
    user_id = (select auth.uid())
    and (partnership_id is null
         or partnership_id in (select p.id from public.partnerships as p where p.user_ids @> array[(select auth.uid())]))
  );
create policy people_change_their_own on public.sits
  for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

revoke all on function
  lastseen.note_partnership_members(),
  public.abandon_overdue_sits(interval),
  lastseen.abandon_sit_of_closed_session(),
  lastseen.start_room_sit(uuid, uuid, uuid, int, text),
  lastseen.finish_room_sit(uuid, uuid[], uuid[], timestamptz[])
from public, anon, authenticated;
grant execute on function
  public.abandon_overdue_sits(interval),
  lastseen.start_room_sit(uuid, uuid, uuid, int, text),
  lastseen.finish_room_sit(uuid, uuid[], uuid[], timestamptz[])
to lastseen_service, service_role;
