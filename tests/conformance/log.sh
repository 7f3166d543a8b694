#!/bin/sh
# Writes three messages to the client's log, with time between them.
set -eu
echo '{"mcp":"log","level":"info","data":"Tool execution started"}'
sleep 0.05
echo '{"mcp":"log","level":"info","data":"Tool processing data"}'
sleep 0.05
echo '{"mcp":"log","level":"info","data":"Tool execution completed"}'
echo "Logged three messages."
