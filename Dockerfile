# One image for every role (target `tidemill`), one for the CPU engine (target `engine`). Both run as a plain user.
FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 UV_COMPILE_BYTECODE=1 XDG_CACHE_HOME=/tmp/cache UV_LINK_MODE=copy UV_NO_CACHE=1
RUN pip install --no-cache-dir uv==0.13.9 \
 && useradd --uid 10001 --create-home tidemill \
 && install -d -o tidemill -g tidemill /var/lib/tidemill /var/lib/mlflow
WORKDIR /opt/tidemill

FROM base AS tidemill
COPY requirements/all.txt requirements/all.txt
RUN uv venv /opt/venv && VIRTUAL_ENV=/opt/venv uv pip sync requirements/all.txt
COPY pyproject.toml README.md LICENSE ./
COPY tidemill tidemill
COPY producers producers
COPY streams streams
COPY consumers consumers
COPY retrain retrain
COPY serving serving
COPY dashboards dashboards
COPY benchmarks benchmarks
RUN VIRTUAL_ENV=/opt/venv uv pip install --no-deps .
ENV PATH=/opt/venv/bin:$PATH TIDEMILL_SETTINGS=/etc/tidemill/tidemill.yaml
USER tidemill
VOLUME /var/lib/tidemill
ENTRYPOINT ["tidemill"]
CMD ["--help"]

FROM base AS engine
RUN apt-get update && apt-get install -y --no-install-recommends g++ libnuma1 && rm -rf /var/lib/apt/lists/*
COPY requirements/engine.txt requirements/engine.txt
RUN uv venv /opt/venv && VIRTUAL_ENV=/opt/venv uv pip sync requirements/engine.txt
ENV PATH=/opt/venv/bin:$PATH HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_ALLOW_RUNTIME_LORA_UPDATING=True
USER tidemill
ENTRYPOINT ["python", "-m", "vllm.entrypoints.openai.api_server"]
