"""The Streamlit app: draws one Snapshot and knows no actor."""
