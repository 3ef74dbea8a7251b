# Two images: `node` for compose.yaml, and the last one, which Home Assistant's Supervisor builds as
# an add-on. docs/install.md says how to run them.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends python3-venv ca-certificates
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/scribe-node/venv
WORKDIR /source
# First what changes rarely: these layers are kept when only the program changes.
COPY systemd/requirements.lock systemd/requirements-web.lock systemd/
RUN /opt/scribe-node/venv/bin/pip install -q --require-hashes --only-binary :all: \
    -r systemd/requirements.lock -r systemd/requirements-web.lock
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY docs docs
COPY node node
COPY config config
COPY systemd systemd
RUN /opt/scribe-node/venv/bin/pip install -q --no-deps . \
    && /opt/scribe-node/venv/bin/pip check

FROM ${BASE} AS common
# tini passes signals on and collects what a killed microphone process leaves behind.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        ca-certificates libportaudio2 python3 tini tzdata \
    # A base's machine-id would be that of all who use the image.
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/*.log /var/log/apt \
        /etc/machine-id \
    # A number that no Debian package takes, so that a bind-mounted folder can be given to it.
    && useradd --uid 10301 --user-group --groups audio --home-dir /var/lib/scribe-node \
        --no-create-home --shell /usr/sbin/nologin scribe-node \
    && install -d -m 0700 -o scribe-node -g scribe-node /var/lib/scribe-node
COPY --from=build /opt/scribe-node /opt/scribe-node
ENV PATH=/opt/scribe-node/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HF_HUB_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
STOPSIGNAL SIGTERM

FROM common AS node
COPY config/container/node.yaml /etc/scribe-node/node.yaml
ENV HOME=/var/lib/scribe-node
USER scribe-node
WORKDIR /var/lib/scribe-node
VOLUME /var/lib/scribe-node
# It asks the broker, so it sees a node that hangs. What it prints, the last words spoken among it,
# must not get into `docker inspect`.
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s --retries=2 \
    CMD ["/bin/sh", "-c", "exec scribe-node status > /dev/null"]
ENTRYPOINT ["/usr/bin/tini", "--", "scribe-node"]
CMD ["run"]

FROM ${BASE} AS sound
# Of ALSA's plugins only the one for PulseAudio: the others need 100 MB of codecs.
RUN apt-get update -qq \
    && cd /tmp && apt-get download -qq libasound2-plugins && dpkg-deb -x libasound2-plugins_*.deb all \
    && cd all && find usr/lib -name libasound_module_pcm_pulse.so \
        -exec install -D {} /plugin/{} \;

# The add-on. config/home-assistant/addon/DOCS.md says why it starts as root.
FROM common AS addon
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libpulse0 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/*.log /var/log/apt
COPY --from=sound /plugin /
ENV HOME=/data
WORKDIR /data
# The Supervisor restarts an unhealthy add-on whose watchdog is on.
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s --retries=2 \
    CMD ["/bin/sh", "-c", "exec scribe-node status --config /data/node.yaml > /dev/null"]
ENTRYPOINT ["/usr/bin/tini", "--", "python", \
    "/opt/scribe-node/venv/share/scribe-node/config/home-assistant/addon/start.py", \
    "--page-user", "scribe-node"]
