#!/bin/sh
# Asks the user. $1 names the question, $2 is its text, $3 the schema of the answer.
set -eu
# The text may be a caller's, and must not end the JSON string that it stands in.
text=$(printf '%s' "$2" | tr -d '[:cntrl:]' | sed 's/["\\]/\\&/g')
printf '{"mcp":"ask","id":"%s","message":"%s","schema":%s}\n' "$1" "$text" "$3"
read -r answer
printf 'User response: %s\n' "$answer"
