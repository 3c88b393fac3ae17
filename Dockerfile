# pipesched with all that it needs, its default model included: nothing is downloaded when it runs.
#   docker build -t pipesched .
#   docker run -v ./project:/srv/pipesched --stop-timeout 90 pipesched
# The volume belongs to user 10001; see docs/deployment.md.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /build
RUN python -m venv /opt/pipesched
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY presets ./presets
COPY man ./man
COPY src ./src
RUN /opt/pipesched/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[notify]"

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="pipesched" \
      org.opencontainers.image.description="Keeps a vector index exactly in step with a folder of Markdown, on a schedule." \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/pipesched /opt/pipesched
RUN useradd --system --uid 10001 --user-group --home-dir /srv/pipesched --create-home pipesched
ENV PATH=/opt/pipesched/bin:$PATH \
    PIPESCHED_FILE=/srv/pipesched/schedules.json
WORKDIR /srv/pipesched
VOLUME /srv/pipesched
USER 10001:10001
EXPOSE 8765
# The first signal lets runs end, the second ends them: pipesched itself is PID 1, and reaps what runs leave behind.
STOPSIGNAL SIGTERM
# Whether the scheduling loop turns; what is wrong with a job or the embedder is for `pipesched health`, and no reason to restart.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/opt/pipesched/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/livez', timeout=5)"]
ENTRYPOINT ["pipesched"]
CMD ["daemon"]
