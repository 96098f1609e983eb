FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /worker

COPY pyproject.toml requirements.lock README.md ./
COPY app app
COPY actors actors
COPY schedules schedules
COPY realtime realtime
RUN pip install --no-cache-dir -c requirements.lock -e . \
    && useradd --system --no-create-home worker
USER worker

# One image for every process group; exec form, so that SIGTERM reaches the process.
CMD ["lf-worker", "run", "worker"]
