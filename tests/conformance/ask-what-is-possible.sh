#!/bin/sh
# Asks the client's user and its model, but each only if the client says that it can.
set -eu
user='"user":{"method":"elicitation/create","params":{"message":"Which city?","requestedSchema":{"type":"object","properties":{"city":{"type":"string"}}}}}'
model='"model":{"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":{"type":"text","text":"Name a city."}}],"maxTokens":20}}'
requests=
case $MCP_CLIENT_CAPABILITIES in *'"elicitation"'*) requests=$user ;; esac
case $MCP_CLIENT_CAPABILITIES in *'"sampling"'*) requests=$requests${requests:+,}$model ;; esac
if [ -z "$requests" ]; then
    echo "Your client can be asked nothing."
    exit
fi
printf '{"mcp":"ask","requests":{%s}}\n' "$requests"
read -r answers
printf 'Answers: %s\n' "$answers"
