-- The login owns its database and may make roles, nothing more.

create role app login createrole;
