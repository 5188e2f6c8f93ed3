# An image in which `make test` runs, and in which Snakemake can run its jobs (docs/projects.md).
#   docker build --tag mimik .
#   docker run --rm --shm-size 2g mimik make test
FROM python:3.11-slim-bookworm

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# OpenCV, which mediapipe uses, needs the two libraries; `make` needs make and git.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libgl1 libglib2.0-0 make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 mimik \
    && mkdir /mimik \
    && chown mimik:mimik /mimik

USER 1000
WORKDIR /mimik
ENV PATH=/mimik/.venv/bin:$PATH PIP_NO_CACHE_DIR=1

# The pinned packages first: a change of the code does not install them again.
COPY --chown=mimik:mimik requirements.lock ./
RUN python -m venv .venv && .venv/bin/pip install --quiet --requirement requirements.lock

COPY --chown=mimik:mimik . ./
RUN make .venv/installed.sha256

CMD ["make", "help"]
