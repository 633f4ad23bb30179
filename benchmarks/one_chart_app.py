"""The least app that draws a chart: one line through 50 points."""

import altair as alt
import pandas as pd
import streamlit as st

table = pd.DataFrame({"layer": range(1, 51), "value": range(50)})
st.subheader("50 layers", anchor=False)
st.altair_chart(alt.Chart(table).mark_line().encode(x="layer", y="value"))
