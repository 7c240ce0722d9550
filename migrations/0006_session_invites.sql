-- Invites to reading sessions.

-- fillfactor: room on each page for a second version of some rows; an invite that is counted or revoked
-- then needs no new entry in three indexes.

create table public.session_invites (
  id           uuid        not null default gen_random_uuid() primary key,
  session_id   uuid        not null references public.reading_sessions on delete cascade,
  token_sha256 bytea       not null unique check (octet_length(token_sha256) = 32),
  role         text        not null default 'guest' check (role in ('host', 'participant', 'guest')),
  max_uses     int         check (max_uses > 0),
  uses         int         not null default 0 check (uses >= 0),
  expires_at   timestamptz,
  created_by   uuid,
  created_at   timestamptz not null default now(),
  revoked_at   timestamptz
) with (fillfactor = 80);

create index session_invites_of_session on public.session_invites (session_id);

comment on table public.session_invites is 'A way into a reading session, for whoever holds the token.';
comment on column public.session_invites.token_sha256 is 'The token itself is shown once and kept nowhere.';
comment on column public.session_invites.uses is
  'Participants that came in by it. Counted at once where max_uses is set, else with the flush, so that a popular link is not one hot row.';

alter table public.session_invites enable row level security;
alter table public.session_invites force row level security;
