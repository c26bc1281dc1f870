DROP TABLE status_counts, schedule, outbox, attempts, messages;
DROP FUNCTION count_inserted(), count_updated(), count_deleted();
DROP TYPE message_status;
