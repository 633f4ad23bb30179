"""The explorer: what gradcore computes, on Streamlit pages. No formula and no torch here."""
