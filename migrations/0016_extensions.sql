-- An extension of a check-in leaves a trace, and all check-ins can be listed, not only those that are active.

alter table public.check_ins
  add column extended_at timestamptz,
  add column extension_count int not null default 0 check (extension_count >= 0),
  add constraint extended_at_a_time check ((extension_count = 0) = (extended_at is null));

-- It was of active ones only.
drop index public.check_ins_newest;
create index check_ins_newest on public.check_ins (checked_in_at desc, id desc);

comment on column public.check_ins.extended_at is
  'When its user checked in again while it ran, the last time; null where that never was. Set by a trigger.';
comment on column public.check_ins.extension_count is 'How often its user checked in again while it ran.';
comment on column public.user_sessions.updated_at is
  'When a call, a sweep or its user changed it: beats of connections do not count. Of what its user changes in SQL a trigger keeps it.';
comment on column public.reading_sessions.updated_at is
  'When a call or a sweep changed it: beats do not count. Set by the statements, not by a trigger.';
