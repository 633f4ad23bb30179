"""The least app that shows words and answers a control: what every page costs here, ours included."""

import streamlit as st

depth = st.slider("Depth (layers)", 1, 500, 50)
st.subheader(f"{depth} layers", anchor=False)
