FROM scratch
COPY --chown=5:6 --chmod=4711 script.sh /usr/bin/tool
