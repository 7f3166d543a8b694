#!/bin/sh
# Has the client's model answer the prompt $2. $1 names the question.
set -eu
# The prompt may be a caller's, and must not end the JSON string that it stands in.
text=$(printf '%s' "$2" | tr -d '[:cntrl:]' | sed 's/["\\]/\\&/g')
message='{"role":"user","content":{"type":"text","text":"'$text'"}}'
request='{"method":"sampling/createMessage","params":{"messages":['$message'],"maxTokens":100}}'
printf '{"mcp":"ask","requests":{"%s":%s}}\n' "$1" "$request"
read -r answers
printf 'LLM response: %s\n' "$answers"
