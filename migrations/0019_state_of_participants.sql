-- Which state of a participant is the newest, where two servers have connections of it.

alter table public.session_participants add column state_at timestamptz, add column state_node text;

comment on column public.session_participants.state_at is
  'When the person showed that state; null for one of before.';
comment on column public.session_participants.state_node is
  'The server that wrote the state. Its next one is newer, whatever the times say: they are as exact as the way to the database is quick.';
