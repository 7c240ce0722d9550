-- Types. They cannot be replaced: after a change here all definitions are dropped and made anew.

drop domain if exists lastseen.idle_counts;
create domain lastseen.idle_counts as text not null check (value in ('seen', 'activity'));
comment on domain lastseen.idle_counts is
  'What keeps a session open: a participant was `seen` (connected), or did something (`activity`).';

drop type if exists lastseen.admission;
create type lastseen.admission as (
  verdict                  text,
  detail                   text,
  participant_id           uuid,
  user_id                  uuid,
  name                     text,
  role                     text,
  state                    jsonb,
  joined_at                timestamptz,
  resume_generation        int,
  newly_made               boolean,
  invite_id                uuid,
  invite_counted           boolean,
  invite_uncounted         boolean,
  session_id               uuid,
  title                    text,
  host_user_id             uuid,
  max_participants         int,
  session_created_at       timestamptz,
  session_last_seen_at     timestamptz,
  session_last_activity_at timestamptz
);
comment on type lastseen.admission is
  'What admit() found. A verdict other than `admitted` is the code of a refusal, or `name_needed`, and all but its detail is null.';
comment on column lastseen.admission.detail is
  'With session_closed the close_reason, with invite_expired the invite_fault().';
comment on column lastseen.admission.newly_made is 'This call made the row; give_back() takes it back.';
comment on column lastseen.admission.invite_id is 'The invite that made the row; null for a participant who was in the session before.';
comment on column lastseen.admission.invite_counted is 'A use was counted here.';
comment on column lastseen.admission.invite_uncounted is 'The invite has no max_uses: the server counts the use with its flush.';
