"""The nightly store: Parquet tables of every night's captures, the runner that fills it, trend and check."""
