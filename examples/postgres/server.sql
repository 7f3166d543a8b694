SELECT json_build_object(
    'version', current_setting('server_version'),
    'database', current_database(),
    'user', current_user,
    'started', pg_postmaster_start_time(),
    'is_replica', pg_is_in_recovery(),
    'size_bytes', pg_database_size(current_database()),
    'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    'max_connections', current_setting('max_connections')::int
);
