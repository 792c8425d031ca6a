netcat -k -l -p 8082 > /server-logs/$LOG_FILE
