-- As Neon has it: the attributes and the membership that it gives to each login.

create role neon_superuser nologin createrole createdb replication bypassrls;
grant pg_read_all_data, pg_write_all_data, pg_monitor to neon_superuser;
create role app login inherit createrole createdb replication bypassrls in role neon_superuser;
