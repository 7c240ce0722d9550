-- Simulators: companion instances of user sessions. Only the server that launched one moves it to its next
-- state; whatever else wants it stopped sets the status STOPPING.

create table public.simulators (
  id              uuid             not null default gen_random_uuid() primary key,
  user_session_id uuid             not null references public.user_sessions on delete cascade,
  user_id         uuid             not null,
  status          text             not null default 'CREATING'
    check (status in ('CREATING', 'STARTING', 'RUNNING', 'STOPPING', 'STOPPED', 'ERROR')),
  endpoint        text,
  initial_symbols jsonb            not null default '[]'
    check (case when jsonb_typeof(initial_symbols) = 'array' then jsonb_array_length(initial_symbols) <= 50 else false end),
  -- PostgreSQL's NaN is greater than every number: this excludes it together with the infinite.
  initial_cash    double precision not null default 100000.0 check (initial_cash >= 0 and initial_cash < 'infinity'),
  created_at      timestamptz      not null default now(),
  last_active     timestamptz      not null default now(),
  moved_at        timestamptz      not null default now(),
  stopped_at      timestamptz,
  error           text,
  node            text             not null,
  launcher        text             not null check (launcher in ('process', 'kubernetes')),
  handle          jsonb            check (jsonb_typeof(handle) = 'object'),
  constraint over_when_stopped check ((status in ('STOPPED', 'ERROR')) = (stopped_at is not null)),
  constraint an_error_has_a_message check ((status = 'ERROR') = (error is not null)),
  constraint running_somewhere check (status <> 'RUNNING' or endpoint is not null)
);

create unique index one_live_simulator_a_user_session on public.simulators (user_session_id)
  where status not in ('STOPPED', 'ERROR');
-- For the server that runs them, and for counting them against its capacity.
create index simulators_live_by_node on public.simulators (node) where status not in ('STOPPED', 'ERROR');
-- For the newest of a session, and for the cascade.
create index simulators_of_user_session on public.simulators (user_session_id, created_at desc);

comment on table public.simulators is 'A companion instance of a user session. At most one of a session is live: neither STOPPED nor ERROR.';
comment on column public.simulators.user_id is 'The user of the session, for the policy.';
comment on column public.simulators.initial_symbols is 'Each 1 to 16 of A-Z0-9.-, which the server sees to.';
comment on column public.simulators.last_active is 'When somebody last used it. The beats of its session count as well: stop_inactive_simulators().';
comment on column public.simulators.moved_at is 'When it came to its status.';
comment on column public.simulators.node is 'The server that launches and stops it.';
comment on column public.simulators.launcher is 'How that server launches it.';
comment on column public.simulators.handle is
  'Identifies the instance after a crash of its server: process id, start and boot of a process, or name and namespace of a pod. Null until it was launched.';

alter table public.simulators enable row level security;
alter table public.simulators force row level security;
