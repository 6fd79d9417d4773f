#!/bin/sh
# Makes the role and the database, or sets the role's password; prints "changed" when it did anything.
# usage: MILEPOST_PASSWORD=… role.sh PORT ADDRESS USER DATABASE
set -eu
port=$1 address=$2 user=$3 database=$4
cd /

# A log-in over the network with the wanted password proves role, password, pg_hba and database at once.
if PGPASSWORD=$MILEPOST_PASSWORD psql -qtAX -h "$address" -p "$port" -U "$user" -d "$database" -c 'select 1' >/dev/null 2>&1; then
  exit 0
fi

# The password goes through a variable of psql on stdin: it is on no command line and in no log.
runuser -u postgres -- psql -qX -p "$port" -d postgres -v ON_ERROR_STOP=1 <<SQL >/dev/null
set log_statement = 'none';
set log_min_error_statement = 'panic';
\\set password '$MILEPOST_PASSWORD'
select format('create role %I login', '$user') where not exists (select from pg_roles where rolname = '$user') \\gexec
alter role "$user" login password :'password';
select format('create database %I owner %I', '$database', '$user')
  where not exists (select from pg_database where datname = '$database') \\gexec
SQL
PGPASSWORD=$MILEPOST_PASSWORD psql -qtAX -h "$address" -p "$port" -U "$user" -d "$database" -c 'select 1' >/dev/null
echo changed
