SELECT w.pid AS waiting_pid,
       w.usename AS waiting_user,
       date_trunc('second', now() - w.query_start) AS waiting_for,
       left(regexp_replace(w.query, '\s+', ' ', 'g'), 200) AS waiting_query,
       b.pid AS blocking_pid,
       b.usename AS blocking_user,
       b.state AS blocking_state,
       left(regexp_replace(b.query, '\s+', ' ', 'g'), 200) AS blocking_query
FROM pg_stat_activity AS w
CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS blocker (pid)
JOIN pg_stat_activity AS b ON b.pid = blocker.pid
WHERE w.datname = current_database()
ORDER BY w.query_start;
