#!/bin/sh
# Prints the SHA-256 of each file below this folder whose name fits $1, and says how far it has come.
set -eu
total=$(find . -type f -name "$1" | wc -l)
number=0
find . -type f -name "$1" | sort | while IFS= read -r file; do
    sha256sum -- "$file"
    number=$((number + 1))
    echo "{\"mcp\":\"progress\",\"progress\":$number,\"total\":$total,\"message\":\"hashing files\"}"
done
