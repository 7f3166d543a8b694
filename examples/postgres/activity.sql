-- The text of a query may hold values: only its beginning is shown.
SELECT pid,
       usename AS "user",
       application_name AS application,
       state,
       wait_event_type AS waits_for,
       wait_event,
       date_trunc('second', now() - query_start) AS running_for,
       left(regexp_replace(query, '\s+', ' ', 'g'), 200) AS query
FROM pg_stat_activity
WHERE datname = current_database()
  AND pid <> pg_backend_pid()
  AND state IS DISTINCT FROM 'idle'
  AND now() - query_start >= make_interval(secs => :'seconds'::int)
ORDER BY query_start
LIMIT :'max_rows'::int;
