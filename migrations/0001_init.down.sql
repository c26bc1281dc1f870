DROP TABLE recorder_progress, status_counts, schedule, outbox, attempts, message_filters, messages;
DROP FUNCTION count_inserted(), count_updated(), count_deleted(), insert_filters(), delete_filters(), server_timeline();
DROP TYPE message_status;
