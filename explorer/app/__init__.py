"""The app: the only layer that imports Streamlit."""

import os

# Arrow's own allocator keeps what a read needed for the next one: 12 MiB after one chart, 43 MiB after ten, for no time
# won. It is chosen when pyarrow is first imported, which no module outside this package has done by now.
# https://arrow.apache.org/docs/cpp/env_vars.html#envvar-ARROW_DEFAULT_MEMORY_POOL
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
