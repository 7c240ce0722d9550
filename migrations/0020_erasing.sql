-- Erasing a person who has a simulator that lives: its server finds it by its row, which goes when it has stopped.

alter table public.simulators add column erase_when_stopped boolean not null default false;

comment on column public.simulators.erase_when_stopped is
  'Its user was erased while it was live: this row and that of its user session are deleted once it is STOPPED or ERROR.';
