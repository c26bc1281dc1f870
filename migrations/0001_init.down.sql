DROP TABLE status_counts, schedule, outbox, attempts, lookups, messages;
DROP FUNCTION count_inserted(), count_updated(), count_deleted(), look_up(), forget();
DROP TYPE message_status;
