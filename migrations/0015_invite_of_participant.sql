-- The invite by which a participant came.

-- No foreign key: to delete an invite would search all participants for it.
alter table public.session_participants add column invite_id uuid;

comment on column public.session_participants.invite_id is
  'The invite by which they came in first, for a host who ends it when they are removed; null for members and hosts of before.';
