#!/bin/sh
# Says three times how far it is, slowly enough that nothing is left out.
set -eu
echo '{"mcp":"progress","progress":0,"total":100}'
sleep 0.15
echo '{"mcp":"progress","progress":50,"total":100}'
sleep 0.15
echo '{"mcp":"progress","progress":100,"total":100}'
echo "Came all the way."
