.PHONY: help run test check bench
help:   ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/ -/'
run:    ## start the explorer
	streamlit run app/main.py
test:   ## all fast tests
	pytest
check:  ## lint, format and types
	ruff check . && ruff format --check . && pyright
bench:  ## speed claims beside their baselines
	python -m benchmarks
