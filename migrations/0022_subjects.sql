-- Users whom their app knows by something else than a UUID: the `sub` of Auth0, Clerk, Firebase and others.

create table lastseen.subjects (
  user_id    uuid        not null primary key,
  subject    text        not null unique check (char_length(subject) between 1 and 255),
  created_at timestamptz not null default now()
);

comment on table lastseen.subjects is
  'Which subject the id of a user stands for. Users whose subject is a UUID have no row: that is their id.';
comment on column lastseen.subjects.user_id is
  'The UUIDv5 of the subject in the namespace f5a3b0de-6c1d-4f0e-9a57-2d8c41e7b936. It stands in all other tables, and is auth.uid().';
comment on column lastseen.subjects.subject is 'What calls, frames and answers have as user_id: the `sub` of the user''s JWT.';

alter table lastseen.subjects enable row level security;
alter table lastseen.subjects force row level security;
