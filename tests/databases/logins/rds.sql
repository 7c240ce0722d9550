-- As Amazon RDS, Aurora and Cloud SQL have it: the login makes roles and databases and is a member of a role with the
-- rights of an operator. Nobody who can log in is a superuser, or may pass over row security.

create role rds_superuser nologin;
grant pg_monitor, pg_signal_backend, pg_checkpoint to rds_superuser with admin option;
create role app login createrole createdb;
grant rds_superuser to app;
