-- A database at migration 18, as it was before the first release: its tables are those of 0001 to 0012 and
-- stay; here is what differs. functions/ follows.

comment on schema lastseen is
  'Functions that only the lastseen server calls, and the list of applied migrations. What operators call is in public.';
comment on column public.partnerships.user_ids is
  'The members once more, kept by a trigger: a policy on partnership_members that reads partnership_members would recurse.';
comment on column public.simulators.handle is
  'Identifies the instance after a crash of its server: process id, start and boot of a process, or name and namespace of a pod. Null until it was launched.';
comment on table public.user_sessions is
  'One device of one user. A heartbeat is a call for it, or anything received on one of its connections. Ended ones are kept until cleanup_old_sessions().';
comment on column public.user_sessions.ended_at is 'With the status `timeout`, the last heartbeat.';
comment on column public.user_sessions.expires_at is
  'The last heartbeat plus the timeout of the server that received it.';
comment on column public.user_sessions.ip_address is
  'The client''s network, not its address: /24 of IPv4, /48 of IPv6.';

-- What is defined no more; the others are dropped by the names that they have.
drop function lastseen.withdraw_admission(uuid, uuid, uuid, uuid, bytea, text);

drop table public._sqlx_migrations;
