#!/bin/sh
# Has the event stream ended, and answers when the client is likely to be back.
set -eu
echo '{"mcp":"close_stream"}'
sleep 0.3
echo "The result came on the second stream."
