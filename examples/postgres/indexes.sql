SELECT i.relname AS name,
       x.indisunique AS is_unique,
       x.indisvalid AS is_valid,
       pg_size_pretty(pg_relation_size(i.oid)) AS size,
       s.idx_scan AS uses,
       pg_get_indexdef(i.oid) AS definition
FROM pg_index AS x
JOIN pg_class AS i ON i.oid = x.indexrelid
JOIN pg_class AS c ON c.oid = x.indrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_all_indexes AS s ON s.indexrelid = i.oid
WHERE n.nspname = :'schema'
  AND c.relname = :'table'
ORDER BY i.relname;
