-- Closing many sessions at once. Each row that closes is visited once and not twice: what is to change
-- is listed first, in the order in which it is then locked and changed.

create or replace function lastseen.close_sessions(sessions uuid[], reason text)
returns setof public.reading_sessions
language plpgsql rows 100 set search_path = ''
as $$
declare
  present uuid[];
  valid   uuid[];
begin
  -- Once these are ours nobody comes in any more. The arrays stand in sub-selects so that the planner
  -- does not know how long they are: it then looks each row up, and an UPDATE locks in their order.
  perform from unnest((select sessions)) as closing (id)
  join public.reading_sessions as s on s.id = closing.id
  where s.is_active
  order by s.id
  for update of s;

  select array_agg(p.id order by p.id) into present
  from unnest((select sessions)) as closing (id)
  join public.session_participants as p on p.session_id = closing.id
  where p.is_active;

  update public.session_participants as p
  set is_active = false, left_at = p.last_seen_at, leave_reason = 'closed'
  from unnest((select present)) as listed (id)
  where p.id = listed.id and p.is_active;

  select array_agg(i.id order by i.id) into valid
  from unnest((select sessions)) as closing (id)
  join public.session_invites as i on i.session_id = closing.id
  where i.revoked_at is null;

  update public.session_invites as i
  set revoked_at = now()
  from unnest((select valid)) as listed (id)
  where i.id = listed.id and i.revoked_at is null;

  return query
    update public.reading_sessions as s
    set is_active = false, closed_at = now(), close_reason = reason, updated_at = now()
    from unnest((select sessions)) as closing (id)
    where s.id = closing.id and s.is_active
    returning s.*;
end
$$;

-- Room for second versions of some invites on each page: one that is counted or revoked then needs no
-- new entry in three indexes. Pages that are there already stay as they are.
alter table public.session_invites set (fillfactor = 80);
