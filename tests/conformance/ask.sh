#!/bin/sh
# Asks the client everything in $1, an object of requests by name, and prints the answers.
set -eu
printf '{"mcp":"ask","requests":%s}\n' "$1"
read -r answers
printf 'Answers: %s\n' "$answers"
