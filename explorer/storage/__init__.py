"""The format on disk: names, records, segments and journals. `logs/README.md` tells it in prose."""
