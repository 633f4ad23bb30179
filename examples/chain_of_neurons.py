"""A chain of single sigmoid neurons: why the gradient vanishes, factor by factor, and over 100,000 random chains."""

from gradcore.charts import chain as charts
from gradcore.experiments import chain

one = chain.random_chain(8, seed=3)
print("factors w sigma'(z):", *(f"{factor:.3f}" for factor in one.factors))
predicted, drawn = chain.predict_chains().product(8), chain.draw_chains(8, draws=100_000, seed=1)
print(f"ln of the product of 8: {predicted.mean:.3f} predicted, {drawn.mean:.3f} over 100,000 drawn chains")

picture = charts.factor_chart(one)
