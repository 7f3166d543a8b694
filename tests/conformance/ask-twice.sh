#!/bin/sh
# Asks for a name, and then for a color.
set -eu
echo '{"mcp":"ask","id":"step1","message":"Step 1: What is your name?","schema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}'
read -r name
echo '{"mcp":"ask","id":"step2","message":"Step 2: What is your favorite color?","schema":{"type":"object","properties":{"color":{"type":"string"}},"required":["color"]}}'
read -r color
printf 'Name: %s\nColor: %s\n' "$name" "$color"
