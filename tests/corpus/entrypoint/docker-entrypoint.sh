#!/usr/bin/env bash
set -Eeo pipefail

# usage: file_env VAR [DEFAULT]; reads $VAR, or the file that $VAR_FILE names
file_env() {
	local var="$1" file_var="${1}_FILE" default="${2:-}"
	if [ "${!var:-}" ] && [ "${!file_var:-}" ]; then
		echo >&2 "error: both $var and $file_var are set"
		exit 1
	fi
	local value="$default"
	if [ "${!var:-}" ]; then
		value="${!var}"
	elif [ "${!file_var:-}" ]; then
		value="$(< "${!file_var}")"
	fi
	export "$var"="$value"
	unset "$file_var"
}

if [ "${1:-}" = 'keeper' ]; then
	file_env KEEPER_NAME main
	database="$KEEPER_DATA/$KEEPER_NAME.db"
	if [ ! -s "$database" ]; then
		for file in /docker-entrypoint-init.d/*.sql; do
			echo "running $file"
			sqlite3 "$database" < "$file"
		done
	fi
	exec sqlite3 "$database" "select count(*) || ' pots in $KEEPER_NAME' from pots;"
fi

exec "$@"
