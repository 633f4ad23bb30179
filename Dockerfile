# The explorer for a container host: docs/hosting.md has the steps, the variables and measured figures.
FROM python:3.11-slim

# Chinese titles in exported images need a font that has them.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fonts-noto-cjk \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /srv/gradcore
COPY requirements.txt ./
# torch first, from PyTorch's own index of builds without CUDA: it saves several gigabytes.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0 \
    && pip install --no-cache-dir -r requirements.txt

COPY .streamlit .streamlit
COPY gradcore gradcore
COPY app app

# Nothing is written at run time: the files stay root's.
RUN python -m compileall -q gradcore app \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin explorer
USER explorer

# One thread in every library: the app itself keeps as many computations going as GRADCORE_MAX_COMPUTING says.
# Few arenas of the C library: with many script threads each would keep what it freed.
ENV PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    MALLOC_ARENA_MAX=2 \
    STREAMLIT_SERVER_HEADLESS=true \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_FILE_WATCHER_TYPE=none \
    STREAMLIT_SERVER_MAX_UPLOAD_SIZE=32 \
    STREAMLIT_CLIENT_SHOW_ERROR_DETAILS=none \
    STREAMLIT_BROWSER_GATHER_USAGE_STATS=false \
    GRADCORE_MAX_SECONDS=30 \
    GRADCORE_MAX_TRAINING_SECONDS=120 \
    GRADCORE_MAX_LAYERS=1000 \
    GRADCORE_MAX_UNITS=4096 \
    GRADCORE_MAX_NETWORK_MB=400 \
    GRADCORE_MAX_UPLOAD_MB=32 \
    GRADCORE_MAX_COMPUTING=2 \
    PORT=8501
EXPOSE 8501

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD python -c "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/_stcore/health', timeout=4)"

# A limit that cannot be read ends the container at once, naming the variable.
CMD ["sh", "-c", "python -m app.limits && exec streamlit run app/main.py --server.port=$PORT"]
