"""Tables to charts. Takes Arrow tables with fixed column names, never a path or a run; knows no Streamlit."""
