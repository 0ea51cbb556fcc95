"""Windows computed anew from the raw rows in ClickHouse, with the same pure code as the stream's."""
