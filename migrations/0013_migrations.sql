-- The files of this folder that were applied, with their hashes: written by the migrator alone.

create table lastseen.migrations (
  file       text        not null primary key,
  sha256     bytea       not null,
  objects    text[]      not null default '{}',
  applied_by text        not null,
  applied_at timestamptz not null default now()
);

comment on table lastseen.migrations is
  'The applied migrations. A file of tables (NNNN_*.sql) is applied once; a file of functions/ again whenever its content changes.';
comment on column lastseen.migrations.objects is
  'What a file of functions/ defines: dropped when it is in no file any more, or cannot be replaced.';
comment on column lastseen.migrations.applied_by is
  'The version of lastseen. An older one does not put its definitions over those of a newer one.';

-- Read by servers that start with --migrate=false.
revoke all on lastseen.migrations from public, anon, authenticated, service_role, lastseen_service;
grant select on lastseen.migrations to lastseen_service;
